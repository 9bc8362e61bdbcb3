"""The measures of all parts, in the order of the parts: the only enumeration of them.

Modules that CATALOG_PARTS names may have a tuple `MEASURES` of their own, which come after. They import from this package, and
so it is asked for theirs when somebody asks for all, and not before.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from catalog.parts import more_modules
from ingest.parts.ablations import HeadNorms, PathAblations
from ingest.parts.activations import Activations
from ingest.parts.attention import Compositions, Scores
from ingest.parts.class_activity import ActivityBeforeClasses
from ingest.parts.confidence import Confidence, FrequencyControls, LastLayer
from ingest.parts.correlations import Correlations
from ingest.parts.distributions import Histograms, Subsets
from ingest.parts.effects import Effects
from ingest.parts.entropy import Candidates, Interventions
from ingest.parts.examples import FoundExamples
from ingest.parts.gates import Gates
from ingest.parts.head_scores import HeadScores
from ingest.parts.measure import LayerMeasure, Measure, ModelMeasure
from ingest.parts.next_tokens import NextTokens
from ingest.parts.ngrams import Ngrams
from ingest.parts.positions import Positions
from ingest.parts.prediction import Prediction
from ingest.parts.redundancy import Similarity
from ingest.parts.substitution import ReplacedNeurons, Substitutions
from ingest.parts.syntax import Syntax
from ingest.parts.topics import Topics
from ingest.parts.vocabulary import Vocabulary
from ingest.parts.weights import Weights

if TYPE_CHECKING:
    MEASURES: tuple[Measure, ...]
    LAYER_MEASURES: dict[str, LayerMeasure[Any]]
    MODEL_MEASURES: dict[str, ModelMeasure]
    OF_MODELS: tuple[str, ...]

OWN: tuple[Measure, ...] = (
    Weights(),
    Activations(),
    Gates(),
    Correlations(),
    Vocabulary(),
    Positions(),
    Histograms(),
    Subsets(),
    Ngrams(),
    FoundExamples(),
    NextTokens(),
    Topics(),
    Prediction(),
    Similarity(),
    Scores(),
    Compositions(),
    HeadNorms(),
    PathAblations(),
    ActivityBeforeClasses(),
    Candidates(),
    Interventions(),
    LastLayer(),
    Confidence(),
    FrequencyControls(),
    Syntax(),
    ReplacedNeurons(),
    Substitutions(),
)

BASES: tuple[ModelMeasure, ...] = (Effects(), HeadScores())
"""What several parts stand on; they have no rows of their own."""


def _measures() -> tuple[Measure, ...]:
    return (*OWN, *(measure for module in more_modules() for measure in getattr(module, "MEASURES", ())))


def _layer_measures() -> dict[str, LayerMeasure[Any]]:
    """By the name of their results."""
    return {measure.name: measure for measure in _measures() if isinstance(measure, LayerMeasure)}


def _model_measures() -> dict[str, ModelMeasure]:
    """By the name of their results; what others need comes before them."""
    return {measure.name: measure for measure in (*BASES, *_measures()) if isinstance(measure, ModelMeasure)}


def _of_models() -> tuple[str, ...]:
    """Parts of which something is found of one model at a time."""
    return tuple(dict.fromkeys(m.part for m in _measures() if isinstance(m, ModelMeasure) or m.needs))


_MADE: dict[str, Callable[[], Any]] = {
    "MEASURES": _measures,
    "LAYER_MEASURES": _layer_measures,
    "MODEL_MEASURES": _model_measures,
    "OF_MODELS": _of_models,
}


def __getattr__(name: str) -> Any:
    if name in _MADE:
        return _MADE[name]()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def needed_by(parts: Collection[str]) -> frozenset[str]:
    """What measures of these parts need of others."""
    return frozenset(need for measure in _measures() if measure.part in parts for need in measure.needs)


def measures_of_models(parts: Collection[str]) -> list[ModelMeasure]:
    """Those of the parts, after what they stand on."""
    needed = needed_by(parts)
    return [measure for measure in _model_measures().values() if measure.part in parts or needed & {*measure.provides}]


def phase_name(measure: str, model: str) -> str:
    """What a measure of a model is called while it is done."""
    return f"{_model_measures()[measure].title}, {model}"
