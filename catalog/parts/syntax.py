"""The part `syntax`: which syntactic properties of tokens, as spaCy finds them, explain a neuron (UN 4.3, SPEC 5.9)."""

from catalog.parts.explained import OF_SYNTAX, SUBTYPE, best_feature, by_score, explained_by
from catalog.parts.part import Part
from catalog.parts.rule import Threshold

PART = Part(
    name="syntax",
    about="parts of speech, dependencies, morphology and entities by spaCy that explain it",
    reads="corpus",
    version=2,
    settings=("spacy_model", "syntax_subsets"),
    rows=(explained_by(OF_SYNTAX),),
    rules=(
        best_feature(
            "syntax",
            (
                "Neurons of a part of speech, a dependency, a morphological feature or an entity, which a parser finds "
                "and no list of tokens does (UN Figs. 4b and 21)."
            ),
            SUBTYPE,
            Threshold(
                "min_variance_reduction",
                0.2,
                "Least variance reduction of the best feature, a syntactic property of the token (SPEC 6.6).",
            ),
            by_score(f"shift = 'current' AND {OF_SYNTAX.replace('f.family', 'feature_family')}"),
        ),
    ),
)
