"""How parts of a run are measured. A measure is one way of finding some of a part's rows; a part may have several.

    LayerMeasure   sums over the corpus, layer by layer: an accumulator, what it costs, and how it is finished
    PairMeasure    what is found of pairs of models
    ModelMeasure   what is found of one model at a time, by its weights or by reading the first rows of the corpus again

All numbers come from `Ground`; no measure knows a database. A new one is a class with a `part` and a `name`, and an entry of
`ingest.parts.MEASURES`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from catalog.rows import FeatureRow, GroupRow, ModelIds
from ingest.checkpoints.undefined import Described
from ingest.corpus.batches import FeatureSource
from ingest.features.vocabulary import FeatureTable
from ingest.parts.arrays import PLACE, Arrays, Ids, TableRows, decode
from ingest.parts.ground import Ground
from ingest.parts.shapes import CorpusShape, LayerPivots, Layers, LayerShape, ModelShape, Share, Size
from ingest.progress import Progress
from ingest.settings import IngestSettings
from ingest.statistics.layers import LayerAccumulator
from ingest.statistics.universality import BestMatches

Advance = Callable[[int], None]
"""Told how much more is done of what a measure counts, tokens or neurons; may raise to end the work."""
PARTNERS = "partners"
"""What a measure of a model needs that chooses neurons by their partners in other models (`Ground.partners`)."""
Matches = dict[tuple[int, int], BestMatches]
"""Ordered pairs (a, b) of models: best partners of a's neurons in b."""


@dataclass(frozen=True)
class Keys:
    """Keys of the catalog that rows point to."""

    models: Sequence[ModelIds]
    features: Mapping[str, int]
    """By name."""

    def of(self, features: Sequence[FeatureRow]) -> Ids:
        """Keys of these features, in their order."""
        return np.array([self.features[feature.name] for feature in features], dtype=np.int32)


@dataclass(frozen=True)
class Written:
    """Rows per neuron that a measure writes, about: what writing is estimated by."""

    kept: float = 0.0
    """That stay in the table in which they were staged."""
    moved: float = 0.0
    """That are entered into tables of all runs."""
    wide: float = 0.0
    """Narrow rows that take as long as what its wide rows take beyond one each."""


class Lacking(NamedTuple):
    """What of a measure's rows there is not."""

    reason: str
    """In words that follow "because"."""
    left_out: tuple[str, ...]
    """Tables that have no rows of the model, and columns, as table.column, that are NULL; a condition may follow either."""


class Measure(ABC):
    """What all measures have in common."""

    part: ClassVar[str]
    """The part of a run whose rows it finds."""
    name: ClassVar[str]
    """Of its results; no two measures have the same."""
    needs: ClassVar[tuple[str, ...]] = ()
    """What it reads of a model that measures of models provide: their jobs come before."""

    tables: ClassVar[tuple[str, ...]] = ()
    """That it alone fills, named where it is not defined for a model."""
    computes_rows_of_run: ClassVar[bool] = False
    """Whether `rows_of_run` computes what takes long."""

    def undefined(self, model: Described, context: int) -> str | None:
        """Why it is not defined for the model, in words that follow "because"; None where it is.

        Then it gets no jobs and has no rows of the model, and neither have measures that need what it provides.

        Args:
            context: tokens of a row.
        """
        return None

    def undefined_in_part(self, model: Described, context: int) -> "Lacking | None":
        """What of its rows is not defined for the model where the rest is, for it does not fail with what it needs."""
        return None

    def features(self, ground: Ground) -> Sequence[FeatureRow]:
        """The features that its rows may point to."""
        return ()

    def tokens(self, ground: Ground) -> FeatureTable | None:
        """The same, where they are features of tokens."""
        return None

    def rows_of_model(self, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        """Rows that belong to one model, once all jobs are done."""
        yield from ()

    def rows_of_run(self, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        """Rows that depend on which models the run has, or on none."""
        yield from ()

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        """How many rows there will be, about."""
        return Written()


A = TypeVar("A", bound=LayerAccumulator)


class LayerMeasure(Measure, Generic[A]):
    """Sums over the corpus, of consecutive layers of one model."""

    reads_moments: ClassVar[bool] = False
    """Whether sums are finished with the moments of their model, which are then complete before."""

    def sums_of(self, shape: ModelShape) -> bool:
        """Whether anything is summed of a model; where nothing is, it is undefined for that."""
        return True

    @abstractmethod
    def size(self, shape: LayerShape) -> Size:
        """What the sums take."""

    @abstractmethod
    def start(self, shape: LayerShape, pivots: LayerPivots) -> A:
        """Empty sums on the device of the pivots, which are those of the layers."""

    def prepare(self, shape: LayerShape, ground: Ground) -> None:
        """Make what `finish` finds in the ground and all layers share; `finish` does it if nobody has."""

    @abstractmethod
    def finish(self, sums: A, layers: Layers, ground: Ground) -> Arrays:
        """From complete sums to what travels to the catalog."""

    @abstractmethod
    def rows(self, arrays: Arrays, layers: Layers, ids: Ids, ground: Ground) -> Iterator[TableRows]:
        """Rows of what `finish` gave; a `feature_id` is a place among `features`, until they have keys.

        Args:
            ids: of the layers' neurons.
        """

    def columns(self, shape: CorpusShape) -> int:
        """Of the features that `source` gives."""
        return 0

    def source(self, ground: Ground, progress: Progress) -> FeatureSource | None:
        """Says which features positions have, if the sums are by features: batches bring them under the measure's name."""
        return None

    def rows_of_model(self, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        of_features = keys.of(self.features(ground))
        for data in ground.results(f"{self.name}:{model}:%"):
            arrays = decode(data)
            _, start, stop = arrays.pop(PLACE).tolist()
            layers = Layers(model, slice(start, stop))
            for table, columns in self.rows(arrays, layers, keys.models[model].neuron_ids[layers.neurons], ground):
                yield table, with_keys(columns, of_features)


def with_keys(columns: Mapping[str, np.ndarray], of_features: Ids) -> dict[str, np.ndarray]:
    """Columns with keys of features where they had places."""
    if "feature_id" not in columns:
        return dict(columns)
    return {**columns, "feature_id": of_features[columns["feature_id"]]}


class PairMeasure(Measure):
    """What is found of pairs of models; jobs sum products of their activations."""

    @abstractmethod
    def rows_of_pair(self, a: int, b: int, matches: Matches, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        """Rows of both directions of a pair; notes the best matches."""

    @abstractmethod
    def rows_of_matches(self, matches: Matches, keys: Keys) -> Iterator[TableRows]:
        """Rows over all other models of the run, once all pairs are known."""

    @abstractmethod
    def groups(self, matches: Matches, keys: Keys) -> list[GroupRow]:
        """Neurons that are each other's best matches."""


class ModelMeasure(Measure):
    """What is found of one model, in shares that are jobs of their own: what a share found is kept, whatever ends the run.

    How many shares there are follows from what is known before anything is computed, and a share may turn out to be empty.
    What is found is the same, to the bit, whatever their number.
    """

    title: ClassVar[str]
    """What people are told that it does."""
    provides: ClassVar[tuple[str, ...]] = ()
    """What others may need of it."""
    reads_corpus: ClassVar[bool] = False
    """Whether `find` counts tokens of the first rows of the corpus; else it counts neurons."""

    def tokens_wanted(self, settings: IngestSettings) -> int:
        """How many tokens of them it wants, if it reads the corpus."""
        return settings.intervention_tokens

    def expected(self, shape: ModelShape, settings: IngestSettings) -> int:
        """How many things it measures one by one, about, beside what it does once in each share."""
        return 0

    def shares(self, shape: ModelShape, settings: IngestSettings) -> int:
        """In how many shares it is done."""
        return 1

    def bytes_needed(self, shape: ModelShape, settings: IngestSettings, budget: int) -> int:
        """What it may work in, of a budget in bytes: as `Ground.memory_bytes` when a share is found.

        The plan says it, for sums of other batches may round otherwise. Measures whose blocks are small need no say.
        """
        return 0

    @abstractmethod
    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        """To what the cost of one share is proportional.

        Args:
            tokens: that it reads, BOS included.
            n: things that the share measures one by one.
        """

    @abstractmethod
    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        """A share of what there is to find of a model."""

    def count(self, arrays: Arrays) -> int:
        """How many things a share measured one by one."""
        return 0

    def rehearse(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        """What is done on a small model with random weights, to see what it takes."""
        return self.find(model, share, ground, advance)

    def rows(self, arrays: Arrays, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        """Rows of what a share found."""
        yield from ()

    def rows_of_model(self, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        for arrays in ground.found(self.name, model):
            yield from self.rows(arrays, model, keys, ground)
