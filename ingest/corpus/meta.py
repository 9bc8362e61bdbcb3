"""What is known of rows of tokens on disk without opening them."""

import hashlib
import json
from dataclasses import dataclass, field, replace

from catalog.documents import DocumentCounts
from ingest.corpus.files import CorpusFiles, CorpusSource

CACHED_FILES = ("tokens.int32", "subsets.int16", "blocks.int16", "meta.json")
TOKENS_FILE, SUBSETS_FILE, BLOCKS_FILE, META_FILE = CACHED_FILES


@dataclass(frozen=True)
class CorpusMeta:
    """What is written beside the rows."""

    name: str
    source: str
    revision: str | None
    split: str | None
    context: int
    n_rows: int
    subset_names: list[str]
    token_sha256: str
    documents: DocumentCounts = field(default_factory=DocumentCounts)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why files of a folder are not read, by name relative to it."""
    subsets_without_rows: list[str] = field(default_factory=list)
    """Subsets with too few tokens for one row."""
    begins_with_bos: bool = True
    """Every row begins with BOS."""
    n_documents: int | None = None
    """Documents with a token in the rows; None where these are the first rows of others, for which nobody counted."""


def first_rows_of(meta: CorpusMeta, n_rows: int) -> CorpusMeta:
    """The first rows of a corpus, a corpus of their own; all of them are the corpus itself."""
    if n_rows >= meta.n_rows:
        return meta
    content = json.dumps([meta.token_sha256, n_rows])
    return replace(meta, n_rows=n_rows, n_documents=None, token_sha256=hashlib.sha256(content.encode()).hexdigest())


def as_given(meta: CorpusMeta, source: CorpusSource, files: CorpusFiles | None) -> CorpusMeta:
    """The same rows as those of this source: equal text found under another name is the same tokens, but not the same
    source; and names alone leave more files out."""
    left_out = dict(sorted((meta.left_out | (files.left_out if files is not None else {})).items()))
    return replace(
        meta, name=source.name, source=source.location, revision=source.revision, split=source.split, left_out=left_out
    )
