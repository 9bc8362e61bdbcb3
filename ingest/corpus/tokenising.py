"""Text to rows of tokens: tokenised per document, packed per subset, shuffled, hashed, and memory-mapped (SPEC §1).

1. every kept document is tokenised whole and appended to a file of its subset (nothing is held but one batch of
   documents; fast tokenizers took 0.5 to 4 s for a single line of a megabyte, and were linear in its length);
2. each subset's documents are dealt into blocks, whose tokens are cut into rows: context-1 of them behind a BOS, or context of
   them (`ingest.corpus.bos`); the last partial row of each block is dropped (`ingest.corpus.blocks`, `.packing`);
3. rows of all subsets are shuffled by the seed, then cut to `max_tokens`, so that every subset stays;
4. the row file is renamed into the cache under the hash of all that went into it, with its own sha256 beside it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from catalog.documents import SHORTEST_DOCUMENT, DocumentCounts
from catalog.errors import InputError
from ingest.corpus.blocks import text_hash
from ingest.corpus.bos import row_start
from ingest.corpus.documents import Document, read_documents
from ingest.corpus.files import CorpusFiles, CorpusSource, check_source, content_key
from ingest.corpus.meta import META_FILE, CorpusMeta, as_given
from ingest.corpus.packing import Streams, pack
from ingest.corpus.rows import TokenCorpus, open_rows, work_folder
from ingest.corpus.tokenizer import Encoder, TokenizerInfo, text_encoder
from ingest.corpus.told import dropped_documents

BATCH_CHARACTERS = 2_000_000
BATCH_DOCUMENTS = 10_000
MOST_SUBSETS = 1000
"""Each subset is one open file while rows are packed."""
FORMAT_VERSION = 4

OnProgress = Callable[[int], None]
"""Told the number of documents done since the last call."""


def tokenise(
    source: CorpusSource,
    info: TokenizerInfo,
    tokenizer: PreTrainedTokenizerBase,
    context: int,
    max_tokens: int | None,
    seed: int,
    keep_eos: bool,
    cache_dir: Path,
    progress: OnProgress | None = None,
    bos: str = "auto",
) -> TokenCorpus:
    """The corpus from the cache, or made now.

    Args:
        context: tokens per row, BOS included.
        max_tokens: cut after the shuffle, BOS counted; None keeps all rows.
        keep_eos: put an end-of-text id (masked) between documents.
        bos: whether rows begin with BOS, see `ingest.corpus.bos`.
    Raises:
        InputError: no such corpus, a damaged one, no text column, no documents, not one full row, or a token is asked for
            that the tokenizer does not have.
    """
    recipe = _Recipe(context, max_tokens, seed, keep_eos, row_start(bos, info.bos).bos_id)
    if keep_eos and info.eos_id is None:
        raise InputError("--keep-eos needs an end-of-text token, which the tokenizer does not have; leave it out.")
    files = check_source(source)
    ingredients = asdict(recipe) | {
        "format": FORMAT_VERSION,
        "content": content_key(source, files),
        "columns": [source.text_column, source.subset_column],
        "tokenizer": info.sha256,
    }
    key = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()
    folder = cache_dir / key[:32]
    kept = open_rows(folder, info)
    if kept is None:
        with work_folder(cache_dir) as work:
            streams = Streams(work / "streams")
            read = _fill(streams, source, files, info, text_encoder(tokenizer), keep_eos, progress)
            kept = _keep(work, folder, _pack(streams, source, info, recipe, read), info)
    return replace(kept, meta=as_given(kept.meta, source, files), folder=folder)


@dataclass(frozen=True)
class _Recipe:
    """What makes different rows of the same tokens; see `tokenise`."""

    context: int
    max_tokens: int | None
    seed: int
    keep_eos: bool
    bos_id: int | None


class _Read(NamedTuple):
    """What became of the documents and files."""

    documents: DocumentCounts
    without_text: dict[str, str]
    """Files of a folder that hold no texts, with the reason."""


def _keep(work: Path, folder: Path, made: Path, info: TokenizerInfo) -> TokenCorpus:
    """Put finished rows into the cache."""
    # opened before the move: the map stays, whatever another process does to the folder afterwards
    opened = open_rows(made, info)
    if opened is None:
        raise InputError(f"the rows just written below {work} read back differently; check the disk and repeat the command.")
    with suppress(OSError):  # another process was quicker; its rows are the same
        if folder.exists() and open_rows(folder, info) is None:
            folder.rename(work / "damaged")
        made.rename(folder)
    return opened


def _fill(
    streams: Streams,
    source: CorpusSource,
    files: CorpusFiles | None,
    info: TokenizerInfo,
    encode: Encoder,
    keep_eos: bool,
    progress: OnProgress | None,
) -> _Read:
    """Tokenise all documents, and count them."""
    read = _Read(DocumentCounts(), {})
    for batch in _batches(read_documents(source, files, read.without_text)):
        for document in batch:
            read.documents.count(document.dropped, document.repaired)
        usable = [document for document in batch if document.dropped is None]
        for document, ids in zip(usable, _token_ids(encode, usable), strict=True):
            if document.subset not in streams.names and len(streams.names) == MOST_SUBSETS:
                raise InputError(
                    f"column {source.subset_column!r} of {source.location} has more than {MOST_SUBSETS} values, so it names no "
                    "subsets; name another with --subset-column."
                )
            kept = [*ids, info.eos_id] if keep_eos and info.eos_id is not None else ids
            streams.append(document.subset, kept, text_hash(document.text))
        if progress is not None:
            progress(len(batch))
    if read.documents.kept == 0:
        raise InputError(
            f"{source.location} has no document of more than {SHORTEST_DOCUMENT} characters "
            f"({dropped_documents(read.documents)}); give another corpus, or name another column with --text-column."
        )
    return read


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= BATCH_CHARACTERS or len(batch) >= BATCH_DOCUMENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _token_ids(encode: Encoder, documents: list[Document]) -> list[list[int]]:
    """Ids per document."""
    return encode([document.text for document in documents])


def _pack(streams: Streams, source: CorpusSource, info: TokenizerInfo, recipe: _Recipe, read: _Read) -> Path:
    """Cut, shuffle and write the rows with their hash; returns the folder that holds them."""
    folder = streams.folder.parent / "made"
    folder.mkdir()
    longest = streams.longest
    with_bos = recipe.bos_id is not None
    packed = pack(streams, folder, recipe.bos_id, recipe.context, recipe.max_tokens, recipe.seed, info.sha256)
    if packed.n_rows == 0:
        raise InputError(
            f"{source.location} has {longest} tokens in its largest subset, too few for one row of {recipe.context}; give more "
            f"text, or --context {longest + with_bos} or less."
        )
    names = streams.names if streams.names != [""] else []
    meta = CorpusMeta(
        name=source.name,
        source=source.location,
        revision=source.revision,
        split=source.split,
        context=recipe.context,
        n_rows=packed.n_rows,
        subset_names=names,
        token_sha256=packed.sha256,
        documents=read.documents,
        left_out=read.without_text,
        subsets_without_rows=packed.without_rows if names else [],
        begins_with_bos=with_bos,
        n_documents=packed.n_documents,
    )
    (folder / META_FILE).write_text(json.dumps(asdict(meta)))
    return folder
