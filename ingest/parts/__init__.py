"""The measures of all parts, in the order of the parts: the only enumeration of them.

Modules that CATALOG_PARTS names, with commas between them, may define a tuple MEASURES of their own, which come after.
"""

import os
from importlib import import_module

from ingest.parts.activations import Activations
from ingest.parts.correlations import Correlations
from ingest.parts.distributions import Histograms, Subsets
from ingest.parts.examples import FoundExamples
from ingest.parts.measure import LayerMeasure, Measure
from ingest.parts.next_tokens import NextTokens
from ingest.parts.ngrams import Ngrams
from ingest.parts.positions import Positions
from ingest.parts.syntax import Syntax
from ingest.parts.topics import Topics
from ingest.parts.vocabulary import Vocabulary


def _of_modules() -> tuple[Measure, ...]:
    """Those of other modules."""
    names = [name.strip() for name in os.environ.get("CATALOG_PARTS", "").split(",")]
    return tuple(measure for name in names if name for measure in getattr(import_module(name), "MEASURES", ()))


MEASURES: tuple[Measure, ...] = (
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
    Syntax(),
    *_of_modules(),
)

LAYER_MEASURES = {measure.name: measure for measure in MEASURES if isinstance(measure, LayerMeasure)}
"""By the name of their results."""
