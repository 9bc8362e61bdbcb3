"""Which spaCy token a model token belongs to, by characters (SPEC §5b, DECISIONS "spaCy").

A row's text is the bytes of its model tokens, decoded here, so that every token's characters are known exactly whatever
the tokenizer: a piece of a character that is split between tokens has the span of the whole character.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

NONE, MULTI = -1, -2
"""In place of the index of a spaCy token: there is none, or there are several."""


@dataclass(frozen=True)
class RowText:
    """The text of consecutive model tokens."""

    text: str
    starts: Int[np.ndarray, " tokens"]
    ends: Int[np.ndarray, " tokens"]
    """Characters [start, end) of each model token, white space included; equal for a token without bytes."""


@dataclass(frozen=True)
class SpacyTokens:
    """Where spaCy's tokens are in a text, in order; they do not overlap."""

    starts: Int[np.ndarray, " spacy"]
    ends: Int[np.ndarray, " spacy"]
    is_space: Bool[np.ndarray, " spacy"]


def row_text(pieces: Sequence[bytes]) -> RowText:
    """Put the bytes of model tokens together; bytes that are no UTF-8 become U+FFFD, as `bytes.decode` has it.

    Args:
        pieces: the bytes of each token.
    """
    text, character = _decode(b"".join(pieces))
    edges = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    # one character more than there are: a token without bytes at the end of the row has a place, too
    character = np.append(character, len(text))
    starts = character[edges[:-1]]
    last = character[np.maximum(edges[1:] - 1, 0)]
    return RowText(text, starts, np.where(np.diff(edges) > 0, last + 1, starts))


def _decode(raw: bytes) -> tuple[str, np.ndarray]:
    """The text, and for each byte the index of its character, (bytes,) int64."""
    parts: list[str] = []
    of_byte: list[np.ndarray] = []
    length = at = 0
    while at < len(raw):
        try:
            end, bad, good = len(raw), len(raw), raw[at:].decode()
        except UnicodeDecodeError as error:
            end, bad = at + error.end, at + error.start
            good = raw[at:bad].decode()
        leading = (np.frombuffer(raw[at:bad], dtype=np.uint8) & 0xC0) != 0x80
        of_byte.append(length - 1 + np.cumsum(leading))
        parts.append(good)
        length += len(good)
        if end > bad:
            of_byte.append(np.full(end - bad, length))
            parts.append("\ufffd")
            length += 1
        at = end
    return "".join(parts), np.concatenate([*of_byte, np.zeros(0)]).astype(np.int64)


def align(row: RowText, tokens: SpacyTokens) -> Int[np.ndarray, " tokens"]:
    """The index of the spaCy token of each model token, NONE or MULTI.

    What counts are a model token's characters without surrounding white space: overlap with one spaCy token gives that
    one, with several MULTI. A token of white space alone has the SPACE token that contains it.
    """
    n = len(row.text)
    solid = ~np.fromiter((character.isspace() for character in row.text), dtype=bool, count=n)
    places = np.arange(n)
    following = np.append(np.minimum.accumulate(np.where(solid, places, n)[::-1])[::-1], n)
    preceding = np.append(np.maximum.accumulate(np.where(solid, places, -1)), -1)
    blank = following[row.starts] >= row.ends
    starts = np.where(blank, row.starts, following[row.starts])
    ends = np.where(blank, row.ends, preceding[row.ends - 1] + 1)

    first = np.searchsorted(tokens.ends, starts, side="right")
    last = np.searchsorted(tokens.starts, ends, side="left") - 1
    token_of = np.select([last < first, last > first], [NONE, MULTI], first)
    contained = (token_of >= 0) & (row.ends > row.starts)
    if len(tokens.starts):
        held = np.clip(token_of, 0, None)
        contained &= tokens.is_space[held] & (tokens.starts[held] <= starts) & (ends <= tokens.ends[held])
    return np.where(blank & ~contained, NONE, token_of)
