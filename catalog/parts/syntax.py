"""The part `syntax`: which syntactic properties of tokens, as spaCy finds them, explain a neuron (UN 4.3, SPEC 5.9)."""

from catalog.parts.explained import OF_SYNTAX, SUBTYPE, best_feature, explained_by
from catalog.parts.part import Part
from catalog.parts.rule import Threshold

PART = Part(
    name="syntax",
    about="parts of speech, dependencies, morphology and entities by spaCy that explain it",
    reads="corpus",
    rows=(explained_by(OF_SYNTAX),),
    rules=(
        best_feature(
            "syntax",
            "Neurons that respond to a syntactic property of the token: part of speech, dependency, morphology, entity.",
            SUBTYPE,
            Threshold(
                "min_variance_reduction",
                0.2,
                "Least variance reduction of the best feature, a syntactic property of the token (SPEC 6.6).",
            ),
        ),
    ),
)
