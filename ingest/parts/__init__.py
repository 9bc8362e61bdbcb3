"""The measures of all parts, in the order of the parts: the only enumeration of them.

Modules that CATALOG_PARTS names, with commas between them, may define a tuple MEASURES of their own, which come after.
"""

import os
from collections.abc import Collection
from importlib import import_module

from ingest.parts.ablations import HeadNorms, PathAblations
from ingest.parts.activations import Activations
from ingest.parts.attention import Compositions
from ingest.parts.class_activity import ActivityBeforeClasses
from ingest.parts.correlations import Correlations
from ingest.parts.distributions import Histograms, Subsets
from ingest.parts.effects import Effects
from ingest.parts.entropy import Candidates, Interventions
from ingest.parts.examples import FoundExamples
from ingest.parts.head_scores import HeadScores
from ingest.parts.measure import LayerMeasure, Measure, ModelMeasure
from ingest.parts.next_tokens import NextTokens
from ingest.parts.ngrams import Ngrams
from ingest.parts.positions import Positions
from ingest.parts.prediction import Prediction
from ingest.parts.redundancy import Similarity
from ingest.parts.syntax import Syntax
from ingest.parts.topics import Topics
from ingest.parts.vocabulary import Vocabulary
from ingest.parts.weights import Weights


def _of_modules() -> tuple[Measure, ...]:
    """Those of other modules."""
    names = [name.strip() for name in os.environ.get("CATALOG_PARTS", "").split(",")]
    return tuple(measure for name in names if name for measure in getattr(import_module(name), "MEASURES", ()))


MEASURES: tuple[Measure, ...] = (
    Weights(),
    Activations(),
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
    Compositions(),
    HeadNorms(),
    PathAblations(),
    ActivityBeforeClasses(),
    Candidates(),
    Interventions(),
    Syntax(),
    *_of_modules(),
)

BASES: tuple[ModelMeasure, ...] = (Effects(), HeadScores())
"""What several parts stand on; they have no rows of their own."""

LAYER_MEASURES = {measure.name: measure for measure in MEASURES if isinstance(measure, LayerMeasure)}
"""By the name of their results."""

MODEL_MEASURES = {measure.name: measure for measure in (*BASES, *MEASURES) if isinstance(measure, ModelMeasure)}
"""By the name of their results; what others need comes before them."""

OF_MODELS = tuple(dict.fromkeys(m.part for m in MEASURES if isinstance(m, ModelMeasure) or m.needs))
"""Parts of which something is found of one model at a time."""


def needed_by(parts: Collection[str]) -> frozenset[str]:
    """What measures of these parts need of others."""
    return frozenset(need for measure in MEASURES if measure.part in parts for need in measure.needs)


def measures_of_models(parts: Collection[str]) -> list[ModelMeasure]:
    """Those of the parts, after what they stand on."""
    needed = needed_by(parts)
    return [measure for measure in MODEL_MEASURES.values() if measure.part in parts or needed & {*measure.provides}]


def phase_name(measure: str, model: str) -> str:
    """What a measure of a model is called while it is done."""
    return f"{MODEL_MEASURES[measure].title}, {model}"
