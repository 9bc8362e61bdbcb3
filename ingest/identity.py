"""What makes two runs the same (models, tokens, context, seed, precision), and two results of a part: its definition.

That rows begin with BOS is said nowhere: it is the rule. That they do not is said of the run, and of the parts that name `bos`.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from catalog import parts
from catalog.errors import InputError
from catalog.rows import Definition
from ingest.settings import IngestSettings

OF_RUN = ("context", "seed", "precision")
"""Settings that make a run which reads tokens."""
BOS = "bos"
"""The setting that says whether rows begin with BOS; of a run, whether they do."""


def run_settings(settings: IngestSettings, context: int, with_bos: bool) -> dict[str, object]:
    """What makes a run beside its models and tokens; nothing of a run that reads none. Device, memory and batch size change no
    number, and what concerns a part alone is the part's: see `definitions_of`.

    Args:
        context: tokens of a row.
        with_bos: whether rows begin with BOS.
    """
    if not settings.needs_corpus:
        return {}
    values = {name: _value(name, settings, context) for name in OF_RUN}
    return values if with_bos else values | {"begins_with_bos": False}


def run_identity(
    models: list[str], tokenizer: str, token_sha256: str | None, settings: IngestSettings, context: int, with_bos: bool
) -> str:
    """sha256 over the set of models, the tokens and the settings of the run; parts carry their definitions themselves.

    Args:
        models: identity of each, of weights and behaviour.
        tokenizer: its sha256; the vocabulary enters features even where no token is read.
        token_sha256: of the corpus, if one is read.
        context: tokens of a row.
        with_bos: whether rows begin with BOS.
    """
    content = {
        "models": sorted(models),
        "tokenizer": tokenizer,
        "tokens": token_sha256,
        "settings": run_settings(settings, context, with_bos),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def definitions_of(names: Iterable[str], settings: IngestSettings, context: int, with_bos: bool) -> dict[str, Definition]:
    """What the numbers of each of the parts follow.

    Args:
        context: tokens of a row.
        with_bos: whether rows begin with BOS.
    Raises:
        InputError: a file that a setting names cannot be read.
    """
    definitions = {}
    for part in map(parts.part_named, names):
        named = [name for name in part.settings if name != BOS or not with_bos]
        definitions[part.name] = Definition(part.version, {name: _value(name, settings, context) for name in named})
    return definitions


def _value(name: str, settings: IngestSettings, context: int) -> object:
    """A setting as a document has it: files by what they hold, sets in order."""
    if name == "context":
        return context
    if name == BOS:
        return "never"
    if name == "topics" and settings.topics is not None:
        return _sha256(Path(settings.topics))
    value = getattr(settings, name)
    return sorted(value) if isinstance(value, tuple) else value


def _sha256(path: Path) -> str:
    """Raises:
    InputError: the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"--topics {path} cannot be read ({error.strerror}); give a CSV file.") from error


def parts_by_setting() -> dict[str, tuple[str, ...]]:
    """The parts that a setting concerns, of those that do not make a run."""
    by_setting: dict[str, tuple[str, ...]] = {}
    for part in parts.PARTS:
        for name in set(part.settings) - {*OF_RUN, BOS}:
            by_setting[name] = (*by_setting.get(name, ()), part.name)
    return by_setting


def option_of(name: str) -> str:
    """The option that gives a setting."""
    return f"--{name.replace('_', '-')}"


def versions_of(names: Iterable[str]) -> dict[str, int]:
    """Definition versions of the parts."""
    return {name: parts.part_named(name).version for name in names}


def code_version() -> str:
    """The git commit of the running code, `-dirty` if files differ from it; `unknown` outside a checkout."""
    root = Path(__file__).parent.parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()
