"""The 87 syntax features of a token, under distinct names; the reference's names are aliases (SPEC §5b).

The reference calls parts of speech and dependencies alike (`is_spacy_det`), and the second overwrites the first (B26).
"""

from collections.abc import Iterable
from dataclasses import dataclass

PARTS_OF_SPEECH = (
    "adj", "adp", "det", "noun", "pron", "propn", "punct", "verb", "space", "num", "adv", "aux", "cconj", "sconj", "intj",
    "sym", "part", "multi",
)  # fmt: skip
DEPENDENCIES = (
    "dep", "punct", "appos", "pobj", "prep", "dobj", "det", "nsubj", "amod", "compound", "ROOT", "conj", "advmod", "nmod",
    "cc", "aux", "nummod", "advcl", "attr", "ccomp", "poss", "npadvmod", "mark", "nsubjpass", "relcl", "auxpass", "acl",
    "acomp", "pcomp", "xcomp", "neg", "meta",
)  # fmt: skip
MORPHOLOGY = {
    "singular": ("Number", "Sing"),
    "plural": ("Number", "Plur"),
    "first_person": ("Person", "1"),
    "second_person": ("Person", "2"),
    "third_person": ("Person", "3"),
    "prs_pron": ("PronType", "Prs"),
    "art_pron": ("PronType", "Art"),
    "dem_pron": ("PronType", "Dem"),
    "rel_pron": ("PronType", "Rel"),
    "past_tense": ("Tense", "Past"),
    "present_tense": ("Tense", "Pres"),
    "fin_verb": ("VerbForm", "Fin"),
    "part_verb": ("VerbForm", "Part"),
    "inf_verb": ("VerbForm", "Inf"),
    "perf_aspect": ("Aspect", "Perf"),
    "prog_aspect": ("Aspect", "Prog"),
}
ENTITIES = (
    "PERSON", "ORG", "CARDINAL", "DATE", "GPE", "WORK_OF_ART", "PRODUCT", "LAW", "PERCENT", "QUANTITY", "TIME", "NORP",
    "FAC", "ORDINAL", "MONEY", "LOC", "EVENT", "LANGUAGE",
)  # fmt: skip


@dataclass(frozen=True)
class SyntaxFeature:
    """A yes-or-no property of the spaCy token that a model token is aligned to."""

    name: str
    family: str
    """spacy_pos, spacy_dep, spacy_morph, spacy_ent or spacy_misc."""
    source: tuple[str, str]
    """Attribute and value that make it true, as `attributes` gives them."""
    definition: str
    alias: str | None
    """The reference's name; None where another feature took it."""


def _features() -> Iterable[SyntaxFeature]:
    taken = {"det", "punct", "aux"}
    for name in PARTS_OF_SPEECH:
        words = "several spaCy tokens" if name == "multi" else f"part of speech {name.upper()}"
        alias = None if name in taken else f"is_spacy_{name}"
        yield SyntaxFeature(f"spacy_pos_{name}", "spacy_pos", ("pos", name.upper()), words, alias)
    for name in DEPENDENCIES:
        yield SyntaxFeature(f"spacy_dep_{name.lower()}", "spacy_dep", ("dep", name), f"dependency {name}", f"is_spacy_{name}")
    for name, (key, value) in MORPHOLOGY.items():
        yield SyntaxFeature(f"spacy_morph_{name}", "spacy_morph", (key, value), f"morphology {key}={value}", f"is_{name}")
    for name in ENTITIES:
        # the reference's labels are cut to eight characters
        alias = "is_WORK_OF_" if name == "WORK_OF_ART" else f"is_{name}"
        yield SyntaxFeature(f"spacy_ent_{name.lower()}", "spacy_ent", ("ent", name), f"in an entity of type {name}", alias)
    for name, words, alias in (
        ("stop", "a stop word", "is_stop"),
        ("sent_end", "last token of a sentence that the row does not cut", "sent_end"),
        ("sent_begin", "first token of a sentence", "sent_begin"),
    ):
        yield SyntaxFeature(f"spacy_misc_{name}", "spacy_misc", ("misc", name), words, alias)


FEATURES: tuple[SyntaxFeature, ...] = tuple(_features())
"""In column order."""
NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
ALIASES: dict[str, str] = {feature.alias: feature.name for feature in FEATURES if feature.alias}
"""The reference's 84 names."""
PLACE: dict[tuple[str, str], int] = {feature.source: column for column, feature in enumerate(FEATURES)}
"""Columns by attribute and value."""
N_FEATURES = len(FEATURES)
N_BYTES = -(-N_FEATURES // 8)
"""Bytes of one position, bit-packed."""
