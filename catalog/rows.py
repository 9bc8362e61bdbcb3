"""What crosses the border into the catalog, beside columns of numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from catalog.documents import DocumentCounts


class Definition(NamedTuple):
    """What the numbers of a part follow: results of two definitions are never mixed."""

    version: int = 1
    """Of the code and the formulas."""
    settings: dict[str, Any] = {}  # noqa: RUF012 – nobody writes into it
    """Values, as a document has them, of the settings that the part declares, by name."""


class ModelKey(NamedTuple):
    """A model as it was named, with what it is and its tokenizer."""

    identity: str
    """sha256 over weights and behaviour."""
    name: str
    revision: str
    tokenizer_sha256: str


@dataclass(frozen=True)
class RunSpec:
    """What a run is recorded as."""

    identity: str
    settings: dict[str, Any]
    definition_versions: dict[str, int]
    code_version: str
    device: str
    model_family: str | None
    asked: dict[str, Any]
    """What the attempt is asked for, as those need to know who do its jobs."""


class ModelRow(NamedTuple):
    """A row of `models`; meanings are the columns' comments."""

    name: str
    revision: str
    model_family: str
    seed: int | None
    seed_varies: str | None
    architecture: str
    activation_function: str
    n_layers: int
    d_model: int
    d_mlp: int
    n_heads: int
    d_head: int
    d_vocab: int
    n_ctx: int
    weights_sha256: str
    behaviour: str
    """JSON."""
    identity: str
    weight_processing: str
    source: str
    control_of: str | None = None
    training: str | None = None
    step: int | None = None
    gated: bool = False
    quantisation: str | None = None


class TensorRow(NamedTuple):
    """A row of `model_tensors`."""

    name: str
    shape: tuple[int, ...]
    sha256: str
    n_distinct: int


class ModelIds(NamedTuple):
    """Keys of a model and its neurons, reserved before the rows exist."""

    model_id: int
    neuron_ids: np.ndarray
    """(n_layers * d_mlp,) int32, in flat order."""
    is_new: bool


class TokenizerRow(NamedTuple):
    """A tokenizer and its tokens."""

    sha256: str
    n_tokens: int
    bos_id: int | None
    newline_id: int | None
    token_bytes: list[bytes | None]
    """Bytes of each id; None for unknown text, and for an id of no token."""
    token_texts: list[str]
    """What is shown of each id: its bytes as `catalog.text.escape` writes them, or its name where it has none."""


class TokenRows(NamedTuple):
    """Rows of a corpus."""

    tokens: np.ndarray
    """(rows, context) int32 ids."""
    subsets: list[str] | None
    """The subset of each row; None if the corpus has none."""


class CorpusRow(NamedTuple):
    """A row of `corpora`, its subsets and its token counts."""

    name: str
    source: str
    revision: str | None
    split: str | None
    context_length: int
    n_rows: int
    n_tokens: int
    n_kept: int
    token_sha256: str
    subsets: dict[str, int]
    """Rows per subset; empty if the corpus has none."""
    token_counts: np.ndarray
    """(ids,) int64 kept occurrences of each id."""
    read_rows: Callable[[np.ndarray], TokenRows]
    """Rows by their number; those that examples of neurons are in are stored."""
    documents: DocumentCounts
    n_files_left_out: int
    n_documents: int | None
    """With a token in the rows."""
    begins_with_bos: bool = True
    """Every row does."""


class FeatureRow(NamedTuple):
    """A row of `features`."""

    name: str
    family: str
    ordinal: int
    definition: str


class UndefinedRow(NamedTuple):
    """A row of `run_undefined`, without its run."""

    model_id: int
    part: str
    measure: str
    left_out: list[str]
    reason: str


class GroupRow(NamedTuple):
    """A clique of mutual best matches."""

    neuron_ids: np.ndarray
    """int32 ids, one per model."""
    lowest_corr: float


@dataclass(frozen=True)
class PublishRows:
    """Everything that a publication writes beside the staged tables."""

    models: list[tuple[ModelRow, ModelIds]]
    tokenizer: TokenizerRow
    corpus: CorpusRow | None
    features: list[FeatureRow]
    feature_ids: dict[str, int]
    """Key of each feature by name, as reserved."""
    feature_tokens: dict[str, np.ndarray]
    """Token ids of each feature by name."""
    statistics_run_of: dict[int, int]
    """The run that computed each model's own rows."""
    pair_run_of: dict[tuple[int, int], int]
    """The run that computed each pair of model ids (smaller, larger)."""
    groups: list[GroupRow]
    parts: dict[str, Definition]
    """What the numbers of each part that is published follow."""
    tensors: dict[int, Sequence[TensorRow]] = field(default_factory=dict)
    """Of each model by its key; none of a control, whose tensors nobody has."""
    undefined: list[UndefinedRow] = field(default_factory=list)
    """What these parts have not of the models."""
