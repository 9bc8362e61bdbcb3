"""Texts that write special tokens out ("<|endoftext|>", "<s>") are text: no document holds the id of BOS, EOS and their like.

The library does not look for special tokens in texts once it is told so, but the model of a tokenizer may have them in its own
vocabulary, and find them there: a unigram model takes "</s>" for a very likely piece, a model of words takes "<s>" for a word,
and so does BPE that looks words up before it merges anything. In training no text had them: SentencePiece calls them
control symbols, which it gives for no text.

Added tokens that are not special stay as they are: they are found in texts whole. So is a special token that the model can make
of its parts, as texts have it (a "!" that is said to be PAD): no one could tell it from the text.
"""

from collections.abc import Callable
from typing import Any

OF_NO_TEXT = "\U0010ffff" * 16
"""Behind the names of control tokens: noncharacters, which texts that people exchange do not hold."""

Model = dict[str, Any]
"""`model` of a tokenizer.json."""


def without_control_tokens(description: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer.json with control tokens under names that no text has; ids are as they were."""
    model = description["model"]
    unknown = {model.get("unk_id"), _ids(model).get(model.get("unk_token") or "")}
    in_model = set(_ids(model).values())
    is_control = _CONTROLS[model["type"]](model)
    special = [t for t in description["added_tokens"] if t["special"] and t["id"] in in_model and t["id"] not in unknown]
    controls = {token["id"] for token in special if is_control(token["content"], token["id"])}
    if not controls:
        return description
    added = [
        token | {"content": token["content"] + OF_NO_TEXT} if token["id"] in controls else token
        for token in description["added_tokens"]
    ]
    return description | {"model": _renamed(model, controls), "added_tokens": added}


def _ids(model: Model) -> dict[str, int]:
    """The model's own tokens, without those that are added to it."""
    if model["type"] == "Unigram":
        return {piece: i for i, (piece, _) in enumerate(model["vocab"])}
    ids: dict[str, int] = model["vocab"]
    return ids


def _renamed(model: Model, controls: set[int]) -> Model:
    if model["type"] == "Unigram":
        pieces = [[piece + OF_NO_TEXT * (i in controls), score] for i, (piece, score) in enumerate(model["vocab"])]
        return model | {"vocab": pieces}
    return model | {"vocab": {name + OF_NO_TEXT * (i in controls): i for name, i in model["vocab"].items()}}


IsControl = Callable[[str, int], bool]
"""Of a special token, by its name and its id."""


def _of_unigram(model: Model) -> IsControl:
    """Pieces have logarithms of probabilities below 1; control symbols have none, which is written as 0."""
    return lambda name, i: bool(model["vocab"][i][1] >= 0)


def _of_bpe(model: Model) -> IsControl:
    """Tokens are characters, or made by merges."""
    prefix = model.get("continuing_subword_prefix") or ""
    merged = {part for one, other in model["merges"] for part in (one, other, one + other.removeprefix(prefix))}
    return lambda name, i: len(name) > 1 and name not in merged


def _of_words(model: Model) -> IsControl:
    """A word that is special is none of a text."""
    return lambda name, i: True


_CONTROLS: dict[str, Callable[[Model], IsControl]] = {
    "Unigram": _of_unigram,
    "BPE": _of_bpe,
    "WordPiece": _of_words,
    "WordLevel": _of_words,
}
