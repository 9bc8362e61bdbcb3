"""A curve on one line: blocks where the terminal knows them, numbers elsewhere."""

import sys
from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 64
"""Most blocks of a line; a longer curve is shown by the means of equal pieces."""
NUMBERS = 8
"""Numbers of a line, in place of blocks."""


def sparkline(values: Sequence[float]) -> str:
    """Values from 0 to their largest as blocks, with the largest behind them; as means of pieces without blocks.

    Args:
        values: none negative.
    """
    if not values:
        return ""
    if not _has_blocks():
        return " ".join(f"{mean:.2g}" for mean in _means(values, NUMBERS))
    means = _means(values, WIDTH)
    largest = max(means)
    levels = [round((len(BLOCKS) - 1) * mean / largest) if largest > 0 else 0 for mean in means]
    return f"{''.join(BLOCKS[level] for level in levels)} 0–{largest:.2g}"


def _means(values: Sequence[float], pieces: int) -> list[float]:
    """Means of that many pieces of nearly equal length, or the values where they are no more."""
    n = min(pieces, len(values))
    edges = [len(values) * i // n for i in range(n + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]


def _has_blocks() -> bool:
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
