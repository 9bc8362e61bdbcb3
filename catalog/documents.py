"""What became of the documents of a corpus."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

SHORTEST_DOCUMENT = 50
"""Documents must have more characters than this."""


@dataclass
class DocumentCounts:
    """Each document is kept, or dropped for the first reason that holds; the columns `corpora.n_documents_*`."""

    kept: int = 0
    repaired: int = 0
    """Of those kept: lone surrogates, which are no characters, became U+FFFD."""
    null: int = 0
    """The text is NULL, or there is none."""
    not_text: int = 0
    """Numbers, truth values, lists, objects."""
    empty: int = 0
    """Nothing, or nothing but white space, in `SHORTEST_DOCUMENT` characters or fewer."""
    short: int = 0
    """`SHORTEST_DOCUMENT` characters or fewer."""

    @property
    def dropped(self) -> dict[str, int]:
        """Documents that are not kept, by reason."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("kept", "repaired")}

    @property
    def total(self) -> int:
        return self.kept + sum(self.dropped.values())

    def count(self, dropped: str | None, repaired: bool) -> None:
        """Add one document, `dropped` for a reason or kept."""
        setattr(self, dropped or "kept", getattr(self, dropped or "kept") + 1)
        self.repaired += repaired


def as_read(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run left out of its corpus, from its settings; None where it read none, or nothing was counted.

    `corpora` tells the same of the source it was first read from, which may have been another with the same tokens.
    """
    read = settings.get("read") or {}
    counts = read.get("documents", {})
    documents = {f"documents_{field.name}": counts.get(field.name) for field in fields(DocumentCounts)}
    return documents | {name: read.get(name) for name in ("n_files_left_out", "files_left_out", "subsets_without_rows")}
