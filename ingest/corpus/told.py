"""What of a corpus was not read, in sentences for a person and as it is recorded with a run."""

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from catalog.documents import SHORTEST_DOCUMENT, DocumentCounts
from ingest.corpus.documents import without_surrogates

if TYPE_CHECKING:
    from ingest.corpus.meta import CorpusMeta

REASONS = {
    "null": "null or absent",
    "not_text": "no text but numbers, lists or the like",
    "empty": "empty",
    "short": f"of {SHORTEST_DOCUMENT} characters or fewer",
}
NAMES_TOLD = 3
"""Files that a sentence names for each reason."""
NAMES_RECORDED = 100
"""Files that are recorded with a run by name."""


def dropped_documents(documents: DocumentCounts) -> str:
    """Documents that are not kept, by reason: "3 null or absent, 1 empty"."""
    counts = [f"{count:,} {REASONS[reason]}" for reason, count in documents.dropped.items() if count]
    return ", ".join(counts) or "there are none"


def sentences(meta: "CorpusMeta") -> list[str]:
    """One sentence for each kind of thing that is left out or changed; none for a corpus that is read whole."""
    documents, said = meta.documents, []
    if documents.kept != documents.total:
        n = documents.total - documents.kept
        said.append(f"{n:,} of {documents.total:,} documents of {meta.source} are dropped: {dropped_documents(documents)}")
    if documents.repaired:
        said.append(
            f"{documents.repaired:,} of {documents.kept:,} documents hold halves of surrogate pairs, which are no characters; "
            "U+FFFD is read in their place"
        )
    if meta.left_out:
        n = len(meta.left_out)
        files = "file is" if n == 1 else "files are"
        said.append(f"{n:,} {files} left out of the folder {meta.source}: {_left_out(meta.left_out)}")
    if meta.subsets_without_rows:
        short = [without_surrogates(name) or "without a name" for name in meta.subsets_without_rows]
        said.append(f"subsets with too few tokens for one row are left out: {_names(short)}")
    return said


def _left_out(files: dict[str, str]) -> str:
    by_reason = Counter(files.values())
    return "; ".join(
        f"{n:,} {reason} ({_names([name for name, why in files.items() if why == reason])})"
        for reason, n in by_reason.most_common()
    )


def _names(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_TOLD:,} more" if len(names) > NAMES_TOLD else ""
    return ", ".join(map(without_surrogates, names[:NAMES_TOLD])) + more


def record(meta: "CorpusMeta") -> dict[str, Any]:
    """The same for the settings of a run; of very many files the first are named."""
    files = {without_surrogates(name): reason for name, reason in list(meta.left_out.items())[:NAMES_RECORDED]}
    return {
        "documents": asdict(meta.documents),
        "n_files_left_out": len(meta.left_out),
        "files_left_out": files,
        "subsets_without_rows": meta.subsets_without_rows,
    }
