"""Places in a text, each with one token marked: shaded by its value on a terminal, in brackets elsewhere."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from cli.output import room, talk, write
from cli.widths import cut, cut_front, width_of, wrapped

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
    """Print places under the heads of their kinds, in the order given; nothing if there are none.

    On a terminal each is one line, with as much text on both sides as fits.
    """
    if not excerpts:
        return
    shaded = sys.stdout.isatty()
    numbers = [f"{excerpt.value:.4f}" for excerpt in excerpts]
    width = max(map(len, numbers))
    named = max(width_of(excerpt.subset) for excerpt in excerpts)
    largest = max(excerpt.value for excerpt in excerpts)
    beside = width + 2 + (named + 2 if named else 0)
    across = room()
    shown = excerpts if across is None else [_fit(excerpt, across - beside) for excerpt in excerpts]
    lines = ["\n", *(f"{line}\n" for line in ([title] if across is None else wrapped(title, across)))]
    for kind, members in groupby(zip(shown, numbers, strict=True), key=lambda member: member[0].kind):
        lines.append(f"{kind}\n")
        for excerpt, number in members:
            subset = f"{excerpt.subset}{' ' * (named - width_of(excerpt.subset))}  " if named else ""
            share = excerpt.value / largest if largest > 0 else 0.0
            token = _shade(excerpt.token, share) if shaded else f"{LEFT}{excerpt.token}{RIGHT}"
            lines.append(f"{number:>{width}}  {subset}{excerpt.before}{token}{excerpt.after}\n")
    write("".join(lines))
    if shown != excerpts:
        talk("texts of examples shortened; --wide prints all")


def _fit(excerpt: Excerpt, across: int) -> Excerpt:
    """The place in so many columns; the token is cut last, and what one side does not need the other may have."""
    token = cut(excerpt.token, max(1, across))
    rest = max(0, across - width_of(token))
    before, after = width_of(excerpt.before), width_of(excerpt.after)
    left = min(before, max(rest // 2, rest - after))
    right = rest - left
    return replace(
        excerpt,
        before=cut_front(excerpt.before, left) if left else "",
        token=token,
        after=cut(excerpt.after, right) if right else "",
    )


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
