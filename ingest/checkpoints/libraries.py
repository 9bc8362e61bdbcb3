"""Calls of libraries that read model files: whatever they raise becomes one sentence."""

from typing import Any

from torch import OutOfMemoryError

from catalog.errors import CatalogError, InputError
from ingest.checkpoints.arguments import ModelSource
from ingest.checkpoints.quiet import quiet

LONGEST_REASON = 300


def load(source: ModelSource, what: str, loader: Any, **options: Any) -> Any:
    """Call a from_pretrained.

    Raises:
        InputError: whatever it raises; libraries assert, and miss keys and files, by errors of every kind.
    """
    arguments: dict[str, Any] = {"revision": source.revision} if source.revision else {}
    if source.is_local:
        arguments["local_files_only"] = True
    try:
        with quiet():
            return loader(source.folder, **arguments, **options)
    except (CatalogError, MemoryError, OutOfMemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"the {what} of {source.location} cannot be loaded ({reason(error)}); give a complete Hugging Face checkpoint."
        ) from error


def reason(error: Exception) -> str:
    """What an error says, in one line."""
    said = " ".join(str(error).split())
    return said[:LONGEST_REASON] or type(error).__name__
