"""How wide text is on a terminal, and how it is made to fit: cut with an ellipsis, or wrapped."""

import unicodedata

ELLIPSIS = "…"


def printable(text: str) -> str:
    """The text with control, formatting and unpaired characters written as escapes, since terminals obey them."""
    return text if text.isprintable() else "".join(map(_escape, text))


def width_of(text: str) -> int:
    """Columns of a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    # a hundredth of a second, which only other scripts need
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, room: int) -> str:
    """The text in at most so many columns; an ellipsis stands for the end of one that is longer."""
    return text if width_of(text) <= room else _first(text, room - 1) + ELLIPSIS


def cut_front(text: str, room: int) -> str:
    """The end of the text in at most so many columns, behind an ellipsis if it is longer."""
    if width_of(text) <= room:
        return text
    start = len(text)
    while start > 0 and width_of(text[start - 1 :]) < room:
        start -= 1
    while start < len(text) and width_of(text[start]) == 0:
        start += 1
    return ELLIPSIS + text[start:]


def wrapped(text: str, room: int) -> list[str]:
    """The text in lines of at most so many columns, broken behind blanks, and within a word that is longer than a line."""
    lines = []
    while width_of(text) > room:
        most = max(1, len(_first(text, room)))
        blank = text.rfind(" ", 0, most + 1)
        lines.append(text[:blank] if blank > 0 else text[:most])
        text = text[blank + 1 :] if blank > 0 else text[most:]
    return [*lines, text]


def _first(text: str, room: int) -> str:
    """The beginning of a text that is longer, in at most so many columns; one character at least where there is a column."""
    from rich.cells import chop_cells

    return chop_cells(text[: 8 * room], room)[0] if room > 0 else ""


def _escape(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape").decode("ascii")
    return character
