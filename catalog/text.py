"""Token text: kept without loss in a database that knows no NUL, and shown so that white space can be seen."""

import re

_ESCAPED = re.compile(rb"\\\\|\\x([0-9a-f]{2})")


def escape(raw: bytes) -> str:
    """Text for the database: valid UTF-8 as it is, a backslash doubled, NUL and stray bytes as \\xNN."""
    text = raw.replace(b"\\", b"\\\\").decode("utf-8", errors="backslashreplace")
    return text.replace("\0", "\\x00")


def together(text: str) -> str:
    """Texts of consecutive tokens, one after the other: bytes that are a character only together become it."""
    return escape(_ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else b"\\", text.encode()))


SPACE = str.maketrans({" ": "␣"})
VISIBLE = str.maketrans({"\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽"})


def visible(text: str, spaces: bool = True) -> str:
    """Text for a person: newlines, tabs, control characters and, if asked for, spaces get a sign of their own."""
    shown = text.translate(VISIBLE | SPACE if spaces else VISIBLE)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in shown)
