"""Models and corpora of which it is remembered what they hold: what a run is recognised by, without reading them."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.documents import DocumentCounts
from catalog.errors import CatalogError
from catalog.rows import ModelKey
from catalog.settings import home
from ingest.checkpoints.arguments import ModelSource, parse_model_argument
from ingest.checkpoints.behaviour import ModelIdentity
from ingest.checkpoints.first_looks import context_length
from ingest.checkpoints.hub import ask_hub
from ingest.corpus import told
from ingest.corpus.bos import Bos, RowStart, agreed, row_start
from ingest.corpus.files import CorpusSource, check_source
from ingest.corpus.meta import CACHED_FILES, CorpusMeta, as_given
from ingest.remembered import entries
from ingest.settings import IngestSettings

if TYPE_CHECKING:
    from ingest.checkpoints.checkpoint import Checkpoint
    from ingest.corpus.rows import TokenCorpus
    from ingest.corpus.tokenizer import TokenizerInfo

NO_NEWLINE = "no token's bytes are a newline alone, so newlines cannot be masked"


@dataclass(frozen=True)
class ModelFacts:
    """What is remembered of a checkpoint."""

    weights_sha256: str
    behaviour: dict[str, Any]
    tokenizer_sha256: str
    has_newline: bool
    n_ctx: int
    bos: Bos
    quantised: list[str]
    """Types in which a GGUF file stores weights that are no numbers."""

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(self.weights_sha256, self.behaviour)


@dataclass(frozen=True)
class Asked:
    """What an ingest asks for, as far as a run is recognised by it."""

    models: list[ModelKey]
    context: int
    start: RowStart
    """With what rows begin."""
    corpus: CorpusMeta | None
    """None if weights alone are asked for."""
    told: list[str]
    """What reading the inputs tells a person."""

    @property
    def token_sha256(self) -> str | None:
        """Of the corpus."""
        return None if self.corpus is None else self.corpus.token_sha256


def facts_of(checkpoint: "Checkpoint", tokenizer: "TokenizerInfo") -> ModelFacts:
    """What to remember of a checkpoint that was read."""
    identity = checkpoint.identity
    has_newline = tokenizer.newline_id is not None
    n_ctx, bos = checkpoint.n_ctx, tokenizer.bos
    content = identity.weights_sha256, identity.behaviour, tokenizer.sha256
    return ModelFacts(*content, has_newline, n_ctx, bos, checkpoint.quantised)


def told_of(name: str, quantised: Sequence[str]) -> list[str]:
    """What a person is told of a model."""
    if not quantised:
        return []
    return [f"{name} is quantised ({', '.join(quantised)}), so all that is told is of the weights that its blocks stand for"]


def read_model(source: ModelSource) -> entries.Reading | None:
    """A checkpoint that is about to be read; None where it is to be downloaded."""
    folder = _folder(source)
    return None if folder is None else entries.Reading("models", [str(folder)], lambda: _state_of_folder(folder))


def recall_model(source: ModelSource) -> ModelFacts | None:
    """What is remembered of a checkpoint whose files are as they were."""
    folder = _folder(source)
    facts = None if folder is None else entries.recall("models", [str(folder)], _state_of_folder(folder))
    try:
        return None if facts is None else ModelFacts(**facts | {"bos": Bos(*facts["bos"])})
    except (TypeError, KeyError):
        return None


def _folder(source: ModelSource) -> Path | None:
    """Where the files of a checkpoint are now; None if the hub may have others, or that is not known."""
    if source.is_local:
        return Path(source.location).resolve()
    from huggingface_hub import constants, try_to_load_from_cache

    cached = try_to_load_from_cache(source.location, "config.json", revision=source.revision)
    if not isinstance(cached, str):
        return None
    folder = Path(cached).parent.resolve()
    if constants.HF_HUB_OFFLINE or folder.name == source.revision:
        return folder
    return folder if ask_hub("model", source.location, source.revision).commit == folder.name else None


def _state_of_folder(folder: Path) -> entries.State | None:
    """Every file below the folder, through links too; each folder once, for links can go round. Of a GGUF file: itself."""
    if folder.is_file():
        return entries.state_of({folder.name: folder}, entries.SMALL)
    files: dict[str, Path] = {}
    seen: set[tuple[int, int]] = set()
    for top, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(top)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        files.update((str((Path(top) / name).relative_to(folder)), Path(top) / name) for name in sorted(names))
        if len(files) > entries.MOST_FILES:
            return None
    return entries.state_of(files, entries.SMALL)


def _corpus_key(
    settings: IngestSettings, source: CorpusSource, tokenizer: str, context: int, bos_id: int | None
) -> list[Any]:
    recipe = [context, settings.max_tokens, settings.seed, settings.keep_eos, bos_id, tokenizer]
    files = check_source(source)
    if source.path is None or files is None:
        return [asdict(source), *recipe]
    return [asdict(source) | {"location": str(source.path.resolve()), "left_out": files.left_out}, *recipe]


def _state_of_corpus(source: CorpusSource) -> entries.State | None:
    """Of local files; a data set on the hub is what its tokens in the cache are, as it is for those who read them."""
    files = check_source(source)
    return {} if files is None else entries.state_of({file.name: file.path for file in files.files})


def _state_of_cache(folder: str) -> entries.State | None:
    return entries.state_of({name: home() / "corpora" / folder / name for name in CACHED_FILES})


def read_corpus(settings: IngestSettings, tokenizer: str, context: int, bos_id: int | None) -> entries.Reading:
    """A corpus that is about to be read.

    Args:
        bos_id: what rows begin with; None: text.
    """
    source = settings.corpus_source
    assert source is not None
    key = _corpus_key(settings, source, tokenizer, context, bos_id)
    return entries.Reading("corpora", key, lambda: _state_of_corpus(source))


def facts_of_corpus(corpus: "TokenCorpus") -> dict[str, Any]:
    """What to remember of a corpus that was read."""
    assert corpus.folder is not None
    return {"meta": asdict(corpus.meta), "folder": corpus.folder.name, "cached": _state_of_cache(corpus.folder.name)}


def recall_corpus(settings: IngestSettings, tokenizer: str, context: int, bos_id: int | None) -> CorpusMeta | None:
    """What is remembered of a corpus whose files are as they were, and whose rows lie in the cache as they did."""
    source = settings.corpus_source
    assert source is not None
    key = _corpus_key(settings, source, tokenizer, context, bos_id)
    facts = entries.recall("corpora", key, _state_of_corpus(source))
    try:
        if facts is None or facts["cached"] is None or facts["cached"] != _state_of_cache(facts["folder"]):
            return None
        meta = CorpusMeta(**facts["meta"] | {"documents": DocumentCounts(**facts["meta"]["documents"])})
    except (KeyError, TypeError):
        return None
    return as_given(meta, source, check_source(source))


def recall_inputs(settings: IngestSettings) -> Asked | None:
    """What an ingest asks for, if all of it is remembered, and reading it would tell nothing that is wrong."""
    # whether such a device is there, and computes in such a precision, is known to torch
    if settings.device not in ("auto", "cpu") or settings.precision != "fp32":
        return None
    sources = [parse_model_argument(argument) for argument in settings.models]
    models = [facts for source in sources if (facts := recall_model(source)) is not None]
    if len(models) < len(sources) or not _belong_together(models):
        return None
    sentences = [] if models[0].has_newline else [NO_NEWLINE]
    for source, facts in zip(sources, models, strict=True):
        sentences += told_of(source.name, facts.quantised)
    tokenizer = models[0].tokenizer_sha256
    try:
        start = row_start(settings.bos, agreed(settings.bos, [facts.bos for facts in models]))
        context = context_length(settings.context, [facts.n_ctx for facts in models])
        meta = recall_corpus(settings, tokenizer, context, start.bos_id) if settings.needs_corpus else None
    except CatalogError:
        return None
    if settings.needs_corpus and meta is None:
        return None
    keys = [
        ModelKey(facts.identity.sha256, source.name, source.revision or "", tokenizer)
        for facts, source in zip(models, sources, strict=True)
    ]
    sentences += start.told(settings.parts)
    sentences += [] if meta is None else told.sentences(meta)
    return Asked(keys, context, start, meta, sentences)


def _belong_together(models: Sequence[ModelFacts]) -> bool:
    different = len({facts.identity.sha256 for facts in models}) == len(models)
    return different and len({facts.tokenizer_sha256 for facts in models}) == 1
