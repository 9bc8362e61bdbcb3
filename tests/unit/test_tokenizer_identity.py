"""The identity of a tokenizer covers all that changes token ids or bytes, and nothing else."""

import json
import random
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
from tests.tokenizer_factories import llama_tokenizer, wrapped
from tests.unit.tokenizer_edits import (
    CORPUS,
    DECODERS,
    EDITS,
    MAKERS,
    POST_PROCESSORS,
    PRE_TOKENIZERS,
    SPECIAL_OF,
    Json,
    added,
    content_of,
    library_ids,
    made,
)


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


def test_special_tokens_that_are_written_out_are_text() -> None:
    tokenizer = byte_bpe_tokenizer()
    tokenizer.add_tokens([AddedToken("<kept>", special=False), AddedToken("<text>", special=True)], special_tokens=False)
    info: TokenizerInfo = tokenizer_identity(tokenizer)
    ids = dict(zip(("<kept>", "<text>", END_OF_TEXT), text_encoder(tokenizer)(["<kept>", "<text>", END_OF_TEXT]), strict=True))
    assert len(ids["<kept>"]) == 1 and len(ids["<text>"]) > 1 and len(ids[END_OF_TEXT]) > 1
    assert info.token_bytes[ids["<kept>"][0]] == b"<kept>"
