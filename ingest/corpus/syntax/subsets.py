"""Which subsets of a corpus a pipeline for English prose is for."""

import re
from collections.abc import Sequence

from catalog.errors import InputError

NOT_PROSE = {
    "code", "source_code", "programs", "github", "codeparrot", "the_stack", "python", "java", "javascript", "c", "cpp",
    "html", "css", "sql", "math", "mathematics", "dm_mathematics", "tables", "europarl", "multilingual",
}  # fmt: skip
LANGUAGES = {
    "arabic", "bengali", "bulgarian", "catalan", "chinese", "croatian", "czech", "danish", "dutch", "estonian", "finnish",
    "french", "german", "greek", "hebrew", "hindi", "hungarian", "indonesian", "irish", "italian", "japanese", "korean",
    "latin", "latvian", "lithuanian", "norwegian", "persian", "polish", "portuguese", "romanian", "russian", "serbian",
    "slovak", "slovenian", "spanish", "swedish", "thai", "turkish", "ukrainian", "urdu", "vietnamese",
}  # fmt: skip


def syntax_subsets(names: Sequence[str], asked: Sequence[str]) -> list[str]:
    """The subsets to annotate: those asked for, else all but those whose names say that they are no English prose.

    Args:
        names: the corpus's subsets; none where it has no subsets.
    Raises:
        InputError: the corpus has no such subset.
    """
    unknown = [name for name in asked if name not in names]
    if unknown:
        have = f"it has {', '.join(names)}" if names else "it has none, and all of it is annotated without this option"
        raise InputError(f"--syntax-subsets {unknown[0]!r} is no subset of the corpus; {have}.")
    return [name for name in names if (name in asked if asked else _is_prose(name))]


def _is_prose(name: str) -> bool:
    return re.sub(r"\W+", "_", name.strip().lower()) not in NOT_PROSE | LANGUAGES
