"""With what rows begin, by the files of a tokenizer; and special tokens that texts write out."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from catalog.errors import InputError
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.files import load_tokenizer
from ingest.corpus.bos import Bos, RowStart, agreed, row_start
from ingest.corpus.counts import kept_windows
from ingest.corpus.files import CorpusSource
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.special_texts import without_control_tokens
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import text_encoder, tokenizer_identity
from tests.factories import END_OF_TEXT, byte_bpe_tokenizer, random_texts, write_jsonl
from tests.tokenizer_factories import (
    PLAIN,
    SPECIAL,
    described,
    llama_tokenizer,
    metaspace_tokenizer,
    qwen_tokenizer,
    unigram_tokenizer,
    with_template,
    word_end_tokenizer,
    word_piece_tokenizer,
    wrapped,
)

CONTEXT = 16


def words_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words between white space, special ones among them."""
    words = sorted({word for text in PLAIN for word in text.split()})
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*SPECIAL.values(), *words])}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return wrapped(tokenizer)


def hasty_tokenizer() -> PreTrainedTokenizerFast:
    """BPE that looks whole words up before it merges, special ones among them."""
    content = described(word_end_tokenizer().backend_tokenizer)
    content["model"] |= {"ignore_merges": True, "end_of_word_suffix": None}
    return wrapped(content)


def templated(template: str) -> PreTrainedTokenizerFast:
    return with_template(llama_tokenizer(), template)


# --- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "bos", "usual"),
    [
        (byte_bpe_tokenizer, END_OF_TEXT, True),  # GPT-2's and Pythia's add nothing to a text by themselves
        (lambda: byte_bpe_tokenizer(bos_token="</s>", eos_token="</s>"), "</s>", True),  # OPT's
        (qwen_tokenizer, None, False),
        (lambda: byte_bpe_tokenizer(bos_token=None), None, False),
        (lambda: byte_bpe_tokenizer(bos_token=None, eos_token=None), None, False),
        (llama_tokenizer, "<s>", True),  # its files say nothing
        (lambda: templated("<s> $A"), "<s>", True),
        (lambda: templated("<s> $A </s>"), "<s>", True),
        (lambda: templated("$A </s>"), "<s>", False),  # T5's
    ],
)
def test_a_text_begins_with_bos_where_files_say_so(
    make: Callable[[], PreTrainedTokenizerFast], bos: str | None, usual: bool
) -> None:
    info = tokenizer_identity(make())
    assert (info.bos.text, info.bos.usual) == (bos, usual)
    assert row_start("auto", info.bos).with_bos == usual
    assert row_start("never", info.bos).bos_id is None
    if bos is not None:
        assert row_start("always", info.bos).bos_id == info.bos_id == make().bos_token_id


def saved(folder: Path, tokenizer: PreTrainedTokenizerFast, **stated: Any) -> Any:
    """The tokenizer as a checkpoint has it, with statements in its tokenizer_config.json."""
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | stated))
    (folder / "config.json").write_text("{}")
    return load_tokenizer(parse_model_argument(str(folder)), 10**6)


def test_add_bos_token_decides_where_nothing_else_does(tmp_path: Path) -> None:
    silent, no, yes = (
        tokenizer_identity(saved(tmp_path / name, llama_tokenizer(), **stated))
        for name, stated in (("silent", {}), ("no", {"add_bos_token": False}), ("yes", {"add_bos_token": True}))
    )
    assert (silent.bos.usual, no.bos.usual, yes.bos.usual) == (True, False, True)
    assert (silent.bos.stated, no.bos.stated, yes.bos.stated) == (False, True, True)
    assert silent.sha256 == yes.sha256 == tokenizer_identity(llama_tokenizer()).sha256 == no.sha256
    # models of one run have rows that begin alike: what one says holds for those that say nothing
    for said in (no.bos, yes.bos):
        assert agreed("auto", [silent.bos, said]) == agreed("auto", [said, silent.bos]) == agreed("auto", [said]) == said
    assert agreed("auto", [silent.bos, silent.bos]) == silent.bos
    with pytest.raises(InputError, match=r"differ in whether texts begin with <s>, .*; give --bos always or --bos never\.$"):
        agreed("auto", [no.bos, silent.bos, yes.bos])
    assert all(row_start(mode, agreed(mode, [no.bos, yes.bos])).with_bos == (mode == "always") for mode in ("always", "never"))
    # GPT-2's says the same, from some versions of the library on; it stays GPT-2's
    gpt2 = tokenizer_identity(saved(tmp_path / "gpt2", byte_bpe_tokenizer(), add_bos_token=False))
    assert gpt2.bos.usual and gpt2.sha256 == tokenizer_identity(byte_bpe_tokenizer()).sha256
    # what is put before a text says more than what is said of it
    template = tokenizer_identity(saved(tmp_path / "template", templated("<s> $A"), add_bos_token=False))
    assert template.bos.usual


def test_identities_of_before_are_kept() -> None:
    """sha256 of tokenizers whose rows begin with BOS, as the catalog had them when there was no other rule."""
    info = tokenizer_identity(byte_bpe_tokenizer())
    assert info.bos == Bos(0, END_OF_TEXT, True) and info.eos_id == 0 and info.special_ids == {0}
    assert info.sha256 == "e7129ff77270cce74f2a23b311726b6a64d7ff61a71fdc54b2eb7aa7816497b0"


def test_modes_that_cannot_be() -> None:
    nothing, some = Bos(None, None, False), Bos(3, "<s>", False)
    with pytest.raises(InputError, match=r"^--bos always needs a BOS token, [^.]*; leave it out\.$"):
        row_start("always", nothing)
    assert row_start("auto", nothing).reason == "the tokenizer has no BOS"
    assert row_start("auto", some).reason == "the tokenizer puts no <s> before texts"
    assert row_start("never", some).reason == "--bos never"


def test_what_is_left_out_is_told_of_the_parts_that_are_asked_for() -> None:
    start = RowStart("never", Bos(0, END_OF_TEXT, True), None)
    assert start.told(["activations", "entropy"]) == []
    (sentence,) = start.told(["positions", "ablations", "weights"])
    assert "(positions)" in sentence and "(ablations)" in sentence and "attention" not in sentence
    assert start.defined(["positions", "ablations"]) == ("positions",)
    with pytest.raises(InputError, match="give --bos always, or name other parts with --only"):
        start.defined(["ablations"])
    usual = RowStart("auto", Bos(0, END_OF_TEXT, True), 0)
    assert usual.told(["ablations"]) == [] and usual.defined(["ablations"]) == ("ablations",)
    assert usual.record() == {"mode": "auto", "prepended": True, "id": 0, "token": END_OF_TEXT}


# --- rows ------------------------------------------------------------------------------------------------------------


def tokenised(folder: Path, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], **options: Any) -> TokenCorpus:
    path, info = write_jsonl(folder / "c.jsonl", texts), tokenizer_identity(tokenizer)
    asked = {"context": CONTEXT, "max_tokens": None, "seed": 0, "keep_eos": False} | options
    return tokenise(CorpusSource(str(path)), info, tokenizer, cache_dir=folder / "cache", **asked)


def test_rows_without_bos_are_as_long_and_hold_a_token_more_of_text(tmp_path: Path) -> None:
    tokenizer, texts = byte_bpe_tokenizer(), random_texts(1)
    ids = text_encoder(tokenizer)(texts)[0]
    with_bos, without = (tokenised(tmp_path, tokenizer, texts, bos=mode) for mode in ("auto", "never"))
    for corpus, bos_id, width in ((with_bos, 0, CONTEXT - 1), (without, None, CONTEXT)):
        assert corpus.bos_id == bos_id and corpus.meta.begins_with_bos == (bos_id is not None)
        text = np.asarray(corpus.tokens)[:, CONTEXT - width :]
        expected = np.array(ids[: len(ids) // width * width]).reshape(-1, width)
        assert sorted(map(tuple, text.tolist())) == sorted(map(tuple, expected.tolist()))
    assert with_bos.token_sha256 != without.token_sha256
    assert without.kept_mask(without.tokens)[:, 0].any()
    # read again from the cache
    assert tokenised(tmp_path, tokenizer, texts, bos="never").bos_id is None
    assert tokenised(tmp_path, tokenizer, texts, bos="always").token_sha256 == with_bos.token_sha256


def test_a_first_token_ends_no_bigram_and_a_second_no_trigram(tmp_path: Path) -> None:
    corpus = tokenised(tmp_path, qwen_tokenizer(), random_texts(20))
    rows, kept = np.asarray(corpus.tokens), corpus.kept_mask(corpus.tokens)
    padded = np.pad(rows, ((0, 0), (2, 0)), constant_values=-1)
    expected = np.stack([padded[:, :-2][kept], padded[:, 1:-1][kept], rows[kept]])
    np.testing.assert_array_equal(kept_windows(corpus, 10**6), expected)
    assert (expected[1] == -1).sum() == kept[:, 0].sum() > 0


def test_end_of_text_is_kept_where_there_is_one(tmp_path: Path) -> None:
    corpus = tokenised(tmp_path, qwen_tokenizer(), random_texts(20), keep_eos=True)
    eos = tokenizer_identity(qwen_tokenizer()).eos_id
    assert (corpus.tokens == eos).any() and not corpus.kept_mask(corpus.tokens)[corpus.tokens == eos].any()
    with pytest.raises(InputError, match="--keep-eos needs an end-of-text token"):
        tokenised(tmp_path, byte_bpe_tokenizer(bos_token=None, eos_token=None), random_texts(20), keep_eos=True)


# --- special tokens that are written out -----------------------------------------------------------------------------

TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt2": byte_bpe_tokenizer,
    "qwen": qwen_tokenizer,
    "llama": lambda: templated("<s> $A"),
    "metaspace": metaspace_tokenizer,
    "unigram": lambda: unigram_tokenizer(byte_fallback=True),
    "unigram without bytes": unigram_tokenizer,
    "word pieces": word_piece_tokenizer,
    "ends of words": word_end_tokenizer,
    "words": words_tokenizer,
    "hasty": hasty_tokenizer,
}
EXACT = {"gpt2": "", "qwen": "", "llama": " "}
"""Tokenizers that lose nothing of a text, and what they put before it."""

WRITTEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<tool_call>", "<", "|>", " ", "\n", "s")


@cache
def read_tokenizer(name: str) -> tuple[Any, Any, Any, frozenset[int]]:
    """Made once, for training has more than one end; identity, encoder, and the ids of special tokens.

    The one for unknown text is what such text gets.
    """
    tokenizer = TOKENIZERS[name]()
    added = json.loads(tokenizer.backend_tokenizer.to_str())["added_tokens"]
    special = {token["id"] for token in added if token["special"]} - {tokenizer.unk_token_id}
    return tokenizer, tokenizer_identity(tokenizer), text_encoder(tokenizer), frozenset(special)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None, max_examples=60)
@given(pieces=st.lists(st.sampled_from(WRITTEN) | st.text(max_size=6), max_size=12))
def test_special_tokens_that_are_written_out_are_text(name: str, pieces: list[str]) -> None:
    _, info, encode, special = read_tokenizer(name)
    text = "".join(pieces)
    (ids,) = encode([text])
    assert not special & {*ids} and info.special_ids <= special
    if name in EXACT:
        raw = b"".join(info.token_bytes[i] or b"" for i in ids)
        # U+2581 stands for a space where a space is put before the text
        assert raw.decode() == (text if not EXACT[name] or not text else EXACT[name] + text.replace("\u2581", " "))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_each_special_token_alone_between_spaces_and_in_words_is_text(name: str) -> None:
    _, _, encode, special = read_tokenizer(name)
    names = [*SPECIAL.values(), END_OF_TEXT, "<|im_start|>", "<|im_end|>"]
    texts = [text for token in names for text in (token, f" {token} ", f"a{token}b", token * 2, f"{token} {token}\n")]
    assert not special & {i for ids in encode(texts) for i in ids}


@pytest.mark.parametrize("name", ["unigram", "unigram without bytes", "words", "hasty", "word pieces"])
def test_the_library_takes_them_for_the_token(name: str) -> None:
    """Where the model itself knows the token there is something to do, and other texts have the ids that they had."""
    tokenizer, _, encode, special = read_tokenizer(name)

    def of_library(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    assert special & {*of_library([" </s> "])[0]}
    assert encode(list(PLAIN)) == of_library(list(PLAIN))


def test_tokens_that_a_model_makes_of_parts_are_text_and_stay() -> None:
    """A "the" that is said to be PAD is what texts have, too."""
    tokenizer = wrapped(described(byte_bpe_tokenizer().backend_tokenizer), bos_token=END_OF_TEXT, pad_token="the")
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    assert without_control_tokens(content)["model"]["vocab"]["the"] == tokenizer.pad_token_id
    assert text_encoder(tokenizer)(["the"]) == [[tokenizer.pad_token_id]]


def test_added_tokens_that_are_not_special_are_found_whole() -> None:
    tokenizer = qwen_tokenizer()
    assert text_encoder(tokenizer)(["x<tool_call>"])[0][-1] == tokenizer.convert_tokens_to_ids("<tool_call>")
