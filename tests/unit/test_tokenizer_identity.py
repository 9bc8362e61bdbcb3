"""The identity of a tokenizer covers all that changes token ids or bytes, and nothing else."""

import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from catalog.errors import InputError
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.files import load_tokenizer
from ingest.corpus.files import CorpusSource
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import TokenizerInfo, text_encoder, tokenizer_identity
from tests.factories import END_OF_TEXT, byte_bpe_tokenizer, random_texts, write_jsonl
from tests.tokenizer_factories import SCRIPTS, SPECIAL, llama_tokenizer, unigram_tokenizer, wrapped

Json = dict[str, Any]
CORPUS = [*SCRIPTS.values(), *random_texts(3), "<|endoftext|> <s> written out </s>", "over THERE over there", "x=1\n\n\ny"]
SPECIAL_OF = {"byte-level": {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}}
MAKERS = {"byte-level": byte_bpe_tokenizer, "llama": llama_tokenizer, "unigram": lambda: unigram_tokenizer(byte_fallback=True)}


@cache
def written(kind: str) -> str:
    return MAKERS[kind]().backend_tokenizer.to_str()


def content_of(kind: str) -> Json:
    return json.loads(written(kind))


def made(kind: str, content: Json) -> PreTrainedTokenizerFast:
    """Read from a file, as a checkpoint's is: a tokenizer made in memory is written and read first, which mends it."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(content, file)
        file.flush()
        return PreTrainedTokenizerFast(tokenizer_file=file.name, **SPECIAL_OF.get(kind, SPECIAL))


def library_ids(tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    return tokenizer(CORPUS, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def added(content: str, i: int, flags: int) -> Json:
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": i, "content": content} | {name: bool(flags >> bit & 1) for bit, name in enumerate(names)}


NORMALIZERS = [
    None,
    {"type": "Lowercase"},
    {"type": "NFD"},
    {"type": "NFKC"},
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": "e"}, "content": "a"},
    {"type": "Replace", "pattern": {"Regex": "[aeiou]+"}, "content": "a"},
    {"type": "Strip", "strip_left": True, "strip_right": False},
    {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]},
]
PRE_TOKENIZERS = [
    None,
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False},
    {"type": "Whitespace"},
    {"type": "Digits", "individual_digits": True},
    {"type": "Split", "pattern": {"Regex": "th"}, "behavior": "Isolated", "invert": False},
]
DECODERS = [
    None,
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
]
POST_PROCESSORS = [
    None,
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
]


def edit_component(content: Json, chance: random.Random) -> None:
    choices = {
        "normalizer": NORMALIZERS, "pre_tokenizer": PRE_TOKENIZERS, "decoder": DECODERS, "post_processor": POST_PROCESSORS
    }  # fmt: skip
    name = chance.choice(list(choices))
    content[name] = chance.choice(choices[name])


def edit_order(content: Json, chance: random.Random) -> None:
    """Merges go away or change places; so do scores."""
    rows = content["model"]["merges" if "merges" in content["model"] else "vocab"]
    if "merges" in content["model"]:
        how = chance.choice(["none", "fewer", "other order"])
        if how == "none":
            rows.clear()
        elif how == "fewer":
            del rows[len(rows) // chance.randint(2, 9) :]
        else:
            chance.shuffle(rows)
    else:
        rows[chance.randrange(3, len(rows))][1] -= chance.choice([1e-15, 0.5, 20.0])


def edit_ids(content: Json, chance: random.Random) -> None:
    """Two tokens of the model change ids."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):
        a, b = chance.sample(range(3, len(vocabulary)), 2)
    else:
        a, b = chance.sample([name for name in vocabulary if not name.startswith("<")], 2)
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]


def edit_model(content: Json, chance: random.Random) -> None:
    name = chance.choice(["byte_fallback", "ignore_merges", "fuse_unk"])
    if name == "byte_fallback" or "merges" in content["model"]:
        content["model"][name] = not content["model"].get(name)


def edit_added(content: Json, chance: random.Random) -> None:
    tokens, size = content["added_tokens"], len(content["model"]["vocab"])
    if chance.random() < 0.2 and tokens:
        tokens[-1]["special"] = not tokens[-1]["special"]
    else:
        text = chance.choice(["over", "OVER", " there", "\n\n", "猫", "the"])
        tokens.append(added(text, size + len(tokens), chance.randrange(32)))


EDITS: list[Callable[[Json, random.Random], None]] = [edit_component, edit_order, edit_ids, edit_model, edit_added]


@cache
def groups(kind: str) -> dict[str, list[Any]]:
    """(ids, bytes, tokenizer.json) of tokenizers found so far, by identity."""
    return defaultdict(list)


@pytest.mark.parametrize("kind", MAKERS)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), n=st.integers(0, 3))
def test_equal_identities_have_equal_ids_and_bytes(kind: str, seed: int, n: int) -> None:
    chance, content = random.Random(seed), content_of(kind)
    for _ in range(n):
        chance.choice(EDITS)(content, chance)
    try:
        tokenizer = made(kind, content)
        info, encode = tokenizer_identity(tokenizer), text_encoder(tokenizer)
    except Exception as error:
        # the library has its own words for what is no tokenizer, and two entries for one added token are refused
        assert isinstance(error, InputError) or type(error) is Exception, error
        return
    ids = library_ids(tokenizer)
    assert encode(CORPUS) == ids
    found = groups(kind)[info.sha256]
    found.append((ids, info.token_bytes, info.masked_ids))
    assert found[0] == found[-1]


def shuffled(value: Any, chance: random.Random) -> Any:
    """With the keys of every object in another order."""
    if isinstance(value, list):
        return [shuffled(part, chance) for part in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    chance.shuffle(keys)
    # the library wants to know the type of a model before its parts
    keys.sort(key=lambda key: key != "type")
    return {key: shuffled(value[key], chance) for key in keys}


INERT: dict[str, Callable[[Json], Any]] = {
    "order of keys": lambda content: shuffled(content, random.Random(0)),
    "order of the vocabulary": lambda content: content | {"model": content["model"] | _reversed(content["model"])},
    "no version": lambda content: {key: value for key, value in content.items() if key != "version"},
    "truncation": lambda content: content | {
        "truncation": {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    },
    "merges as texts": lambda content: content | {
        "model": content["model"] | {"merges": [" ".join(pair) for pair in content["model"].get("merges", [])]}
    },
    "no dropout": lambda content: content | {"model": content["model"] | {"dropout": 0.0}},
    "defaults left out": lambda content: content | {
        "model": {key: value for key, value in content["model"].items() if value is not None and value is not False}
    },
}  # fmt: skip


PADDING = {
    "strategy": {"Fixed": 900}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
    "pad_token": "[PAD]",
}  # fmt: skip


def _reversed(model: Json) -> Json:
    return {"vocab": dict(reversed(model["vocab"].items()))} if isinstance(model["vocab"], dict) else {}


@pytest.mark.parametrize("edit", INERT)
@pytest.mark.parametrize("kind", MAKERS)
def test_inert_edits_keep_the_identity(kind: str, edit: str) -> None:
    content = content_of(kind)
    if kind == "unigram" and edit in ("merges as texts", "no dropout"):
        return
    before, after = made(kind, content), made(kind, INERT[edit](content))
    assert tokenizer_identity(after) == tokenizer_identity(before)
    assert text_encoder(after)(CORPUS) == text_encoder(before)(CORPUS) == library_ids(before)


@pytest.mark.parametrize("pad", ["[PAD]", END_OF_TEXT, "the"])
@pytest.mark.parametrize("own_pad", [None, END_OF_TEXT])
def test_padding_in_the_file_keeps_the_identity(pad: str, own_pad: str | None, tmp_path: Path) -> None:
    """Though the library makes its filler a token of the tokenizer, with an id of its own."""
    byte_bpe_tokenizer(tmp_path, pad_token=own_pad)
    source = parse_model_argument(str(tmp_path))
    before = tokenizer_identity(load_tokenizer(source, 400))
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | {"padding": PADDING | {"pad_token": pad}}))
    tokenizer = load_tokenizer(source, 400)
    assert tokenizer_identity(tokenizer) == before and before.pad_id == (None if own_pad is None else before.bos_id)
    assert {len(ids) for ids in text_encoder(tokenizer)(CORPUS)} != {900}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_saved_and_read_is_the_same_tokenizer(kind: str, tmp_path: Path) -> None:
    before = made(kind, content_of(kind))
    tokenizer = made(kind, content_of(kind))
    tokenizer.model_max_length, tokenizer.padding_side, tokenizer.clean_up_tokenization_spaces = 17, "left", True
    tokenizer.save_pretrained(tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer_identity(read) == tokenizer_identity(before)
    assert text_encoder(read)(CORPUS) == library_ids(read)


CHANGES: dict[str, Callable[[Json], Any]] = {
    "normalizer": lambda content: content.update(normalizer={"type": "Lowercase"}),
    "no merges": lambda content: content["model"].update(merges=[]),
    "order of merges": lambda content: content["model"]["merges"].reverse(),
    "pre-tokenizer": lambda content: content.update(pre_tokenizer=PRE_TOKENIZERS[1]),
    "post-processor": lambda content: content.update(post_processor=POST_PROCESSORS[1]),
    "decoder": lambda content: content.update(decoder=DECODERS[2]),
    "ignored merges": lambda content: content["model"].update(ignore_merges=True),
    "flag of an added token": lambda content: content["added_tokens"][0].update(special=False),
    "added token": lambda content: content["added_tokens"].append(added("over", 999, 0)),
    "unknown token": lambda content: content["model"].update(unk_token="!"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_another_identity(change: str) -> None:
    content = content_of("byte-level")
    CHANGES[change](content)
    assert tokenizer_identity(made("byte-level", content)).sha256 != tokenizer_identity(byte_bpe_tokenizer()).sha256


@pytest.mark.parametrize("special", ["pad_token", "eos_token", "unk_token"])
def test_another_special_token_is_another_identity(special: str) -> None:
    first = tokenizer_identity(byte_bpe_tokenizer())
    content = content_of("byte-level")
    other = tokenizer_identity(wrapped(content, **(SPECIAL_OF["byte-level"] | {special: "the"})))
    assert other.n_tokens == first.n_tokens and other.sha256 != first.sha256


def rows_of(tokenizer: PreTrainedTokenizerFast, path: Path) -> TokenCorpus:
    info = tokenizer_identity(tokenizer)
    options: Json = {"context": 16, "max_tokens": None, "seed": 0, "keep_eos": False, "cache_dir": path.parent / "cache"}
    return tokenise(CorpusSource(str(path)), info, tokenizer, **options)


@pytest.mark.parametrize("change", ["normalizer", "no merges"])
def test_another_normalizer_or_other_merges_of_one_vocabulary_get_rows_of_their_own(change: str, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "text.jsonl", random_texts(8))
    content = content_of("byte-level")
    CHANGES[change](content)
    plain, changed = byte_bpe_tokenizer(), made("byte-level", content)
    assert plain.get_vocab() == changed.get_vocab()
    first, second = rows_of(plain, path), rows_of(changed, path)
    assert first.token_sha256 != second.token_sha256 and not np.array_equal(first.tokens[:20], second.tokens[:20])
    assert "".join(map(str, second.tokens.ravel())) == "".join(map(str, rows_of(changed, path).tokens.ravel()))
    if change == "no merges":
        assert second.n_tokens > 1.5 * first.n_tokens


def test_equal_ids_of_other_bytes_are_another_corpus(tmp_path: Path) -> None:
    """Whose examples and features have another text."""
    path = write_jsonl(tmp_path / "text.jsonl", random_texts(8))
    content = content_of("llama") | {"decoder": {"type": "Fuse"}}
    first, second = rows_of(llama_tokenizer(), path), rows_of(made("llama", content), path)
    assert np.array_equal(first.tokens, second.tokens) and first.token_sha256 != second.token_sha256


@pytest.mark.parametrize(("name", "value"), [("dropout", 0.1), ("dropout", 1.0)])
def test_a_tokenizer_that_cuts_at_random_is_refused(name: str, value: float) -> None:
    content = content_of("byte-level")
    content["model"][name] = value
    with pytest.raises(InputError, match=f"cuts words at random \\(dropout is {value:g}\\), .*; set dropout to null"):
        tokenizer_identity(made("byte-level", content))


def test_a_unigram_model_that_samples_is_refused() -> None:
    tokenizer = unigram_tokenizer()
    tokenizer.backend_tokenizer.model.nbest_size = 4
    with pytest.raises(InputError, match=r"cuts words at random \(nbest_size is 4\)"):
        tokenizer_identity(tokenizer)


class Shouting(PreTrainedTokenizerFast):
    def _encode_plus(self, text: Any, **options: Any) -> Any:
        return super()._encode_plus([part.upper() for part in text], **options)


class Plain:
    name_or_path, eos_token_id, bos_token_id, pad_token_id = "somewhere", 0, 0, None


def test_a_tokenizer_of_python_code_is_refused() -> None:
    shouting = Shouting(tokenizer_object=byte_bpe_tokenizer().backend_tokenizer, **SPECIAL_OF["byte-level"])
    for tokenizer in (shouting, Plain()):
        with pytest.raises(InputError, match=rf"is a {type(tokenizer).__name__}, which makes tokens by code of its own"):
            tokenizer_identity(tokenizer)


def test_two_tokens_of_one_id_are_refused() -> None:
    content = content_of("llama")
    content["model"]["vocab"]["again"] = content["model"]["vocab"]["e"]
    n = len(content["model"]["vocab"])
    with pytest.raises(InputError, match=f"has {n} tokens and only {n - 1} ids, so it is not known which token an id is"):
        tokenizer_identity(made("llama", content))


@pytest.mark.parametrize("twice", ["the same", "once normalised"])
def test_an_added_token_that_is_there_twice_is_refused(twice: str) -> None:
    content = content_of("byte-level")
    other = ("OVER", 16) if twice == "the same" else ("over", 8)
    content["normalizer"] = {"type": "Lowercase"}
    content["added_tokens"] += [added(*pair) for pair in ((other[0], 998, other[1]), ("OVER", 999, 8 if other[1] == 8 else 0))]
    with pytest.raises(InputError, match=r"has two entries for the added token '(OVER|over)', as its normalizer .* leave one"):
        text_encoder(made("byte-level", content))


def test_special_tokens_that_are_written_out_are_text() -> None:
    tokenizer = byte_bpe_tokenizer()
    tokenizer.add_tokens([AddedToken("<kept>", special=False), AddedToken("<text>", special=True)], special_tokens=False)
    info: TokenizerInfo = tokenizer_identity(tokenizer)
    ids = dict(zip(("<kept>", "<text>", END_OF_TEXT), text_encoder(tokenizer)(["<kept>", "<text>", END_OF_TEXT]), strict=True))
    assert len(ids["<kept>"]) == 1 and len(ids["<text>"]) > 1 and len(ids[END_OF_TEXT]) > 1
    assert info.token_bytes[ids["<kept>"][0]] == b"<kept>"
