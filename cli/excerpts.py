"""Places in a text, each with one token marked: shaded by its value on a terminal, in brackets elsewhere."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from cli.output import write

LEFT, RIGHT = "⟦", "⟧"
LIGHT, STRONG = (255, 255, 255), (255, 140, 0)
"""Colours behind a token of no value and of the largest."""


@dataclass(frozen=True)
class Excerpt:
    """One place; its text has no control characters."""

    kind: str
    value: float
    subset: str
    """Empty where there is none."""
    before: str
    token: str
    after: str


def show_excerpts(title: str, excerpts: Sequence[Excerpt]) -> None:
    """Print places under the heads of their kinds, in the order given; nothing if there are none."""
    if not excerpts:
        return
    shaded = sys.stdout.isatty()
    numbers = [f"{excerpt.value:.4f}" for excerpt in excerpts]
    width = max(map(len, numbers))
    named = max(len(excerpt.subset) for excerpt in excerpts)
    largest = max(excerpt.value for excerpt in excerpts)
    lines = [f"\n{title}\n"]
    for kind, members in groupby(zip(excerpts, numbers, strict=True), key=lambda member: member[0].kind):
        lines.append(f"{kind}\n")
        for excerpt, number in members:
            subset = f"{excerpt.subset:<{named}}  " if named else ""
            share = excerpt.value / largest if largest > 0 else 0.0
            token = _shade(excerpt.token, share) if shaded else f"{LEFT}{excerpt.token}{RIGHT}"
            lines.append(f"{number:>{width}}  {subset}{excerpt.before}{token}{excerpt.after}\n")
    write("".join(lines))


def _shade(token: str, share: float) -> str:
    """The token on a colour between the two, as this terminal shows it; without colours it is bold."""
    from rich.color import Color
    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    part = min(max(share, 0.0), 1.0)
    behind = Color.from_rgb(*(low + part * (high - low) for low, high in zip(LIGHT, STRONG, strict=True)))
    console = Console(file=io.StringIO(), force_terminal=True, highlight=False)
    with console.capture() as capture:
        console.print(Text(token, Style(bold=True, color="black", bgcolor=behind)), end="", soft_wrap=True)
    return capture.get()
