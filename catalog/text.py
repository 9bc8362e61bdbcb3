"""Token text: kept without loss in a database that knows no NUL, and shown so that white space can be seen."""


def escape(raw: bytes) -> str:
    """Text for the database: valid UTF-8 as it is, a backslash doubled, NUL and stray bytes as \\xNN.

    The schema's function `readable` says the same of bytes that are there already.
    """
    text = raw.replace(b"\\", b"\\\\").decode("utf-8", errors="backslashreplace")
    return text.replace("\0", "\\x00")


SPACE = str.maketrans({" ": "␣"})
VISIBLE = str.maketrans({"\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽"})


def visible(text: str, spaces: bool = True) -> str:
    """Text for a person: newlines, tabs, control characters and, if asked for, spaces get a sign of their own."""
    shown = text.translate(VISIBLE | SPACE if spaces else VISIBLE)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in shown)
