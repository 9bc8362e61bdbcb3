"""The syntax features of a corpus on disk: computed once per corpus, tokenizer and pipeline, by several processes."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from catalog.errors import InputError
from catalog.settings import home
from ingest.corpus.rows import TokenCorpus, work_folder
from ingest.corpus.syntax.annotate import Pipeline, load_pipeline
from ingest.corpus.syntax.features import N_BYTES, N_FEATURES, NAMES
from ingest.corpus.syntax.processes import Annotator, processors
from ingest.corpus.syntax.subsets import syntax_subsets
from ingest.corpus.tokenizer import TokenizerInfo
from ingest.progress import Progress

BITS_FILE, META_FILE = "features.bits", "meta.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class SyntaxCorpus:
    """The syntax features of a corpus."""

    bits: UInt8[np.ndarray, "rows context bytes"]
    """Memory-mapped, read-only; bits in the order of `ingest.corpus.syntax.features.NAMES`."""
    subsets: tuple[str, ...]
    """Those whose rows were annotated; empty for a corpus without subsets."""
    annotated: Bool[np.ndarray, " rows"]
    """Rows that were annotated; the others have no features."""
    pipeline: str
    """Name and version, of spaCy as well."""

    def features(self, first_row: int, end_row: int) -> Bool[np.ndarray, "rows context features"]:
        """Of consecutive rows."""
        return np.unpackbits(self.bits[first_row:end_row], axis=2, count=N_FEATURES).astype(bool)

    def of_kept(self, first_row: int, rows: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `ingest.corpus.batches.FeatureSource`; known are the positions of annotated rows."""
        chosen = kept & self.annotated[first_row : first_row + len(rows), None]
        current = self.features(first_row, first_row + len(rows))
        previous = np.zeros_like(current)
        previous[:, 1:] = current[:, :-1]
        return np.concatenate([current[chosen], previous[chosen]], axis=1), np.flatnonzero(chosen[kept])


def open_syntax(
    pipeline: str, wanted: Sequence[str], corpus: TokenCorpus, tokenizer: TokenizerInfo, progress: Progress
) -> SyntaxCorpus:
    """The syntax of the corpus, from the cache of the catalog's home or annotated now.

    Args:
        wanted: subsets to annotate; none: those that are English prose by their names.
    Raises:
        InputError: the pipeline cannot be used, or there is no such subset.
    """
    subsets = syntax_subsets(corpus.subset_names, wanted)
    if corpus.subset_names and not subsets:
        progress.say("no subset of the corpus is English prose by its name; name some with --syntax-subsets to have syntax")
    return syntax_of(corpus, tokenizer, pipeline, subsets, home() / "corpora", progress)


def syntax_of(
    corpus: TokenCorpus,
    info: TokenizerInfo,
    pipeline: str,
    subsets: Sequence[str],
    cache_dir: Path,
    progress: Progress,
    processes: int | None = None,
) -> SyntaxCorpus:
    """The features from the cache, or computed now.

    Args:
        pipeline: an installed spaCy pipeline, by name or path.
        subsets: whose rows are annotated; ignored where the corpus has none, and all rows are.
        processes: that annotate at a time; None: as many as there are processors.
    Raises:
        InputError: the pipeline is not installed, or does not keep its text.
    """
    loaded = load_pipeline(pipeline)
    chosen = [name for name in corpus.subset_names if name in subsets]
    wanted = np.isin(corpus.subset_ids, [corpus.subset_names.index(name) for name in chosen])
    wanted |= not corpus.subset_names
    key = _key(corpus, info, loaded, wanted)
    folder = cache_dir / f"syntax-{key[:32]}"
    bits = _open(folder, corpus)
    if bits is None:
        progress.phase("annotate syntax", int(wanted.sum()) * corpus.meta.context, "tokens")
        with work_folder(cache_dir) as work:
            made = work / "made"
            made.mkdir()
            breaks = tuple(sorted(info.special_ids))
            annotator = Annotator(pipeline, loaded, info.token_bytes, breaks)
            rows = np.flatnonzero(wanted)
            _write(made, corpus, rows, annotator.parts(corpus.tokens, rows, processes or processors()), progress)
            bits = _keep(work, folder, made, corpus)
    return SyntaxCorpus(bits, tuple(chosen), wanted, loaded.identity)


def _key(corpus: TokenCorpus, info: TokenizerInfo, pipeline: Pipeline, wanted: np.ndarray) -> str:
    ingredients = {
        "format": FORMAT_VERSION,
        "tokens": corpus.token_sha256,
        "tokenizer": info.sha256,
        "pipeline": pipeline.identity,
        "rows": hashlib.sha256(np.packbits(wanted).tobytes()).hexdigest(),
        "features": NAMES,
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def _open(folder: Path, corpus: TokenCorpus) -> np.ndarray | None:
    """The cached features, or None if there are none or their bytes are not those that were written."""
    shape = (*corpus.tokens.shape, N_BYTES)
    try:
        written = json.loads((folder / META_FILE).read_text())["sha256"]
        bits = np.memmap(folder / BITS_FILE, dtype=np.uint8, mode="r", shape=shape)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if (folder / BITS_FILE).stat().st_size != bits.nbytes:
        return None
    with (folder / BITS_FILE).open("rb") as file:
        return bits if hashlib.file_digest(file, "sha256").hexdigest() == written else None


def _write(folder: Path, corpus: TokenCorpus, rows: np.ndarray, batches: Iterator[np.ndarray], progress: Progress) -> None:
    """Write the features of `rows`, which come in order; those of other rows are zeros."""
    path = folder / BITS_FILE
    size = corpus.tokens.shape[1] * N_BYTES
    with path.open("wb") as file:
        file.truncate(len(corpus.tokens) * size)
        done = 0
        for bits in batches:
            for row, features in zip(rows[done : done + len(bits)].tolist(), bits, strict=True):
                file.seek(row * size)
                file.write(features.tobytes())
            done += len(bits)
            progress.advance(len(bits) * corpus.tokens.shape[1])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (folder / META_FILE).write_text(json.dumps({"sha256": digest}))


def _keep(work: Path, folder: Path, made: Path, corpus: TokenCorpus) -> np.ndarray:
    """Put finished features into the cache."""
    # opened before the move: the map stays, whatever another process does to the folder afterwards
    opened = _open(made, corpus)
    if opened is None:
        raise InputError(f"what was just written below {work} reads back differently; check the disk and repeat the command.")
    with suppress(OSError):  # another process was quicker; its features are the same
        if folder.exists() and _open(folder, corpus) is None:
            folder.rename(work / "damaged")
        made.rename(folder)
    return opened
