"""Edits of a tokenizer's file, and what it then gives."""

import json
import random
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

from transformers import PreTrainedTokenizerFast

from tests.factories import END_OF_TEXT, byte_bpe_tokenizer, random_texts
from tests.tokenizer_factories import SCRIPTS, SPECIAL, llama_tokenizer, unigram_tokenizer

Json = dict[str, Any]

CORPUS = [*SCRIPTS.values(), *random_texts(3), "<|endoftext|> written out", "over THERE over there", "x=1\n\n\ny"]

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
