"""The bytes of tokens: joined they are the normalised document, whatever the tokenizer and the script."""

import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from catalog.errors import InputError
from ingest.corpus.token_bytes import byte_alphabet
from ingest.corpus.tokenizer import TokenizerInfo, text_encoder, tokenizer_identity
from ingest.features.vocabulary import vocabulary_features
from tests.factories import byte_bpe_tokenizer
from tests.tokenizer_factories import (
    SCRIPTS,
    described,
    llama_tokenizer,
    metaspace_tokenizer,
    unigram_tokenizer,
    word_end_tokenizer,
    word_piece_tokenizer,
    wrapped,
)

MAKERS = {
    "byte-level": byte_bpe_tokenizer,
    "llama": llama_tokenizer,
    "metaspace first": metaspace_tokenizer,
    "metaspace never": lambda: metaspace_tokenizer("never"),
    "unigram with bytes": lambda: unigram_tokenizer(byte_fallback=True),
    "unigram": unigram_tokenizer,
}
DUMMY_PREFIX = {"llama": "always", "metaspace first": "if none", "unigram with bytes": "if none", "unigram": "if none"}
"""When a space is put before a document: always, or if it does not begin with one; else never."""
LOSSLESS = [name for name in MAKERS if name != "unigram"]
TEXTS = st.one_of(
    st.sampled_from(list(SCRIPTS.values())),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.lists(st.sampled_from([*"aZé语🐈ш▁<>\n\t\r\0 ", "  ", "\u3000", "the", " of"]), min_size=1).map("".join),
)


@cache
def made(kind: str) -> tuple[PreTrainedTokenizerFast, TokenizerInfo, Any]:
    tokenizer = MAKERS[kind]()
    return tokenizer, tokenizer_identity(tokenizer), text_encoder(tokenizer)


def normalised(kind: str, text: str) -> bytes:
    """The document as the normalizer writes it, with its spaces as spaces and without the dummy prefix."""
    normalizer = made(kind)[0].backend_tokenizer.normalizer
    written = text if normalizer is None else normalizer.normalize_str(text)
    return (written[1:] if kind == "llama" else written).replace("▁" if kind != "byte-level" else " ", " ").encode()


def with_prefix(kind: str, document: bytes) -> bytes:
    scheme = DUMMY_PREFIX.get(kind)
    return b" " + document if document and (scheme == "always" or (scheme == "if none" and document[:1] != b" ")) else document


@pytest.mark.parametrize("kind", LOSSLESS)
@settings(deadline=None, max_examples=150)
@given(text=TEXTS)
def test_joined_bytes_are_the_normalised_document_after_the_dummy_prefix(kind: str, text: str) -> None:
    _, info, encode = made(kind)
    (ids,) = encode([text])
    assert b"".join(info.token_bytes[i] for i in ids) == with_prefix(kind, normalised(kind, text))


@settings(deadline=None, max_examples=150)
@given(text=TEXTS)
def test_unknown_text_has_no_bytes_and_the_rest_stands_in_order(text: str) -> None:
    _, info, encode = made("unigram")
    (ids,) = encode([text])
    pattern = b"".join(b".+" if i == 0 else re.escape(info.token_bytes[i]) for i in ids)
    assert re.fullmatch(pattern, with_prefix("unigram", normalised("unigram", text)), re.DOTALL)


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_library_decodes_what_the_bytes_say(kind: str, script: str) -> None:
    tokenizer, info, encode = made(kind)
    (ids,) = encode([SCRIPTS[script]])
    joined = b"".join(info.token_bytes[i] for i in ids).decode()
    decoded = tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False)
    assert decoded.lstrip(" ") == joined.lstrip(" ") and len(joined) - len(decoded) in (0, 1)


@pytest.mark.parametrize("kind", ["llama", "metaspace first", "unigram with bytes", "unigram"])
def test_a_space_is_a_space_and_a_byte_is_a_byte(kind: str) -> None:
    tokenizer, info, _ = made(kind)
    ids = tokenizer.get_vocab()
    assert info.token_bytes[ids["▁the"]] == b" the" and info.strings[ids["▁the"]] == " the"
    assert info.token_bytes[ids["▁"]] == b" " and info.token_bytes[ids["é"]] == "é".encode()
    if kind != "unigram":
        assert [info.token_bytes[ids[f"<0x{byte:02X}>"]] for byte in range(256)] == [bytes([byte]) for byte in range(256)]
        assert info.strings[ids["<0xE2>"]] == "\N{REPLACEMENT CHARACTER}" and info.strings[ids["<0x41>"]] == "A"
        assert info.newline_id == ids["<0x0A>"] and info.newline_id in info.masked_ids
    else:
        assert info.newline_id is None


@pytest.mark.parametrize("kind", ["llama", "metaspace first", "unigram with bytes", "unigram"])
def test_vocabulary_features_see_the_spaces(kind: str) -> None:
    tokenizer, info, _ = made(kind)
    table = vocabulary_features(info.strings, info.unknown_ids)
    rows = dict(zip(table.names, table.matrix, strict=True))
    vocabulary = tokenizer.get_vocab()
    words = {name: i for name, i in vocabulary.items() if re.fullmatch("▁?[a-z]+", name)}
    assert {name for name, i in words.items() if rows["start_w_space_and_letter"][i]} == {n for n in words if n[0] == "▁"}
    assert {name for name, i in words.items() if rows["start_w_no_space_and_letter"][i]} == {n for n in words if n[0] != "▁"}
    assert rows["all_white_space"][vocabulary["▁"]] and rows["starts_w_space"][vocabulary["▁the"]]
    assert not table.matrix[:, vocabulary["<unk>"]].any()


@pytest.mark.parametrize("kind", ["llama", "metaspace first", "unigram with bytes", "unigram"])
def test_the_unknown_token_has_a_name_and_no_bytes(kind: str) -> None:
    tokenizer, info, _ = made(kind)
    assert info.unknown_ids == {tokenizer.unk_token_id} and info.token_bytes[tokenizer.unk_token_id] is None
    assert info.strings[tokenizer.unk_token_id] == info.texts[tokenizer.unk_token_id] == "<unk>"


def test_an_unknown_token_that_also_ends_texts_is_no_unknown_token_of_a_byte_level_model() -> None:
    info = tokenizer_identity(byte_bpe_tokenizer(unk_token="<|endoftext|>"))
    assert info.unknown_ids == set() and info.token_bytes[info.eos_id] == b"<|endoftext|>"


@pytest.mark.parametrize("make", [word_piece_tokenizer, word_end_tokenizer])
def test_signs_of_word_edges_are_spaces_as_the_decoder_has_them(make: Any) -> None:
    tokenizer = make()
    info, text = tokenizer_identity(tokenizer), "the people were made over that"
    ids = text_encoder(tokenizer)([text])[0]
    joined = b"".join(info.token_bytes[i] for i in ids).decode()
    assert joined.strip(" ") == text == tokenizer.backend_tokenizer.decode(ids)
    assert len(joined) == len(text) + 1 and len(ids) > len(text.split())


def test_of_two_newlines_that_which_texts_get_is_masked() -> None:
    content = described(llama_tokenizer().backend_tokenizer)
    size = len(content["model"]["vocab"])
    content["model"]["vocab"]["\n"] = size
    info = tokenizer_identity(wrapped(content))
    assert [i for i, raw in enumerate(info.token_bytes) if raw == b"\n"] == [content["model"]["vocab"]["<0x0A>"], size]
    assert info.newline_id == size and text_encoder(wrapped(content))(["a\n"])[0][-1] == size


def test_an_id_of_no_token_has_no_bytes() -> None:
    content = described(llama_tokenizer().backend_tokenizer)
    content["model"]["vocab"]["over there"] = len(content["model"]["vocab"]) + 2
    info = tokenizer_identity(wrapped(content))
    assert info.token_bytes[-3:] == [None, None, b"over there"] and info.strings[-2] == f"<id {info.n_tokens - 2}>"
    assert info.unknown_ids == {0, info.n_tokens - 3, info.n_tokens - 2}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("content", [" of  it", "İSTANBUL", "é語", "\n\n"])
def test_added_tokens_have_the_bytes_of_the_text_they_stand_for(kind: str, normalized: bool, content: str) -> None:
    tokenizer = MAKERS[kind]()
    tokenizer.add_tokens([AddedToken(content, normalized=normalized)])
    info, text = tokenizer_identity(tokenizer), f"x {content} y"
    (ids,) = text_encoder(tokenizer)([text])
    assert info.n_tokens - 1 in ids or (kind == "llama" and normalized)
    joined = b"".join(info.token_bytes[i] for i in ids)
    if kind == "llama":  # whose normalizer puts a space before each piece between added tokens
        joined, text = joined.replace(b" ", b""), text.replace(" ", "")
    assert joined.removeprefix(b" ") == text.encode()


@pytest.mark.parametrize("where", ["pre_tokenizer", "normalizer"])
def test_without_a_decoder_names_are_read_as_they_were_written(where: str) -> None:
    content = described(byte_bpe_tokenizer().backend_tokenizer)
    content["decoder"] = None
    if where == "normalizer":
        content |= {"normalizer": {"type": "ByteLevel"}, "pre_tokenizer": None}
    tokenizer = wrapped(content, bos_token="<|endoftext|>")
    info = tokenizer_identity(tokenizer)
    for text in SCRIPTS.values():
        assert b"".join(info.token_bytes[i] for i in text_encoder(tokenizer)([text])[0]) == text.encode()


@pytest.mark.parametrize("kind", ["llama", "metaspace first", "unigram with bytes"])
def test_without_a_decoder_signs_of_spaces_and_bytes_are_known_too(kind: str) -> None:
    whole, info, _ = made(kind)
    bare = wrapped(described(whole.backend_tokenizer) | {"decoder": None})
    assert tokenizer_identity(bare).token_bytes == info.token_bytes


def test_stripping_each_token_is_not_stripping_the_text() -> None:
    content = described(llama_tokenizer().backend_tokenizer)
    strip = {"type": "Strip", "content": "t", "start": 1, "stop": 0}
    each = [{"type": "Replace", "pattern": {"Regex": "▁+"}, "content": "_"}, strip, {"type": "Fuse"}, strip]
    info = tokenizer_identity(wrapped(content | {"decoder": {"type": "Sequence", "decoders": each}}))
    vocabulary = content["model"]["vocab"]
    assert info.token_bytes[vocabulary["t"]] == b"" and info.token_bytes[vocabulary["▁the"]] == b"_the"


def test_a_decoder_that_gives_no_bytes_to_a_token_is_refused() -> None:
    tokenizer = llama_tokenizer()
    tokenizer.backend_tokenizer.decoder = decoders.CTC()
    with pytest.raises(InputError, match="decoder CTC gives no bytes to a token alone; give a model"):
        tokenizer_identity(tokenizer)


def test_a_lower_case_document_has_lower_case_bytes() -> None:
    tokenizer = byte_bpe_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_tokens([AddedToken("FOO", normalized=True)])
    info, (ids,) = tokenizer_identity(tokenizer), text_encoder(tokenizer)(["The FOO Sat"])
    assert b"".join(info.token_bytes[i] for i in ids) == b"the foo sat" and info.n_tokens - 1 in ids


def test_gpt2_stand_ins_name_each_byte_once() -> None:
    alphabet = byte_alphabet()
    assert sorted(alphabet.values()) == list(range(256))
    assert set(alphabet) == set(pre_tokenizers.ByteLevel.alphabet())
    assert alphabet["Ġ"] == ord(" ") and alphabet["Ċ"] == ord("\n")
