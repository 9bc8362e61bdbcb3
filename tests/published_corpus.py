"""Tokens of the small published family, and the rows that they make."""

import numpy as np

TOKENS = [b"<bos>", b"\n", b"s", b" s", b" the", b",", b"7", b"\x00", b"\xe2\x82", "語".encode(), b" S", b"a\\b"]


def corpus_tokens() -> np.ndarray:
    """(200, 64) int32: after BOS the other tokens in turn, each row one token further."""
    row, position = np.indices((200, 64))
    return np.where(position == 0, 0, 1 + (row + position) % (len(TOKENS) - 1)).astype(np.int32)
