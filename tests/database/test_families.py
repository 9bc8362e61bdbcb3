"""The table of families: every one that was looked for, in every layer of every model, found or not."""

import pytest

from catalog import api, parts
from catalog.errors import InputError
from catalog.questions import why_empty
from catalog.questions.queries import LabelFilter
from catalog.rows import Definition
from catalog.runs import life
from tests.database.helpers import execute, one, rows
from tests.published import PARTS, spec_of, stage_small_family
from tests.published_rows import D_MLP, MODELS, N_LAYERS

FOUND = {("alphabet", 1), ("unigram", 1), ("token_class", 0), ("previous_token", 1)}
"""Families of the small family, each with the layer of its only neuron."""
LOOKED_FOR = {rule.family for rule in parts.rules() if {*parts.parts_of_rule(rule.family)} & {*PARTS}}
OF_FEATURES = "alphabet unigram token_class previous_token context context_off"
"""Families that are read from explanations, of the parts of the small family."""


@pytest.fixture
def store(engine):
    return api.Catalog(engine)


def publish(engine, *parts: str) -> int:
    """The small family, its rows all there, as a run that has these parts only."""
    with life.begin_run(engine, spec_of(" ".join(parts))) as handle:
        publication = stage_small_family(handle)
        handle.publish(type(publication)(**{**vars(publication), "parts": dict.fromkeys(parts, Definition())}))
        return handle.run_id


def families(engine) -> set[str]:
    return {family for (family,) in rows(engine, "SELECT DISTINCT family FROM family_counts_by_layer")}


def test_every_family_that_was_looked_for_has_a_row_per_layer(published_family, engine, store):
    counts = store.family_counts()
    chance = ["expected_by_chance", "chance_ratio", "chance_ratio_upper", "control"]
    assert list(counts) == ["model", "layer", "family", "neurons", "universal_neurons", "undecided_neurons", *chance]
    keys = list(counts[["model", "layer", "family"]].itertuples(index=False, name=None))
    assert keys == [(model, layer, family) for model in MODELS for layer in range(N_LAYERS) for family in sorted(LOOKED_FOR)]
    expected = [int((family, layer) in FOUND) for _, layer, family in keys]
    assert counts["neurons"].tolist() == counts["universal_neurons"].tolist() == expected
    assert store.family_counts(model=MODELS[1], run=1).equals(counts[counts["model"] == MODELS[1]].reset_index(drop=True))


def test_by_model_layers_are_added_up(published_family, engine, store):
    by_model = store.family_counts(by="model")
    assert list(by_model)[:5] == ["model", "family", "neurons", "universal_neurons", "undecided_neurons"]
    counted = ["neurons", "universal_neurons", "undecided_neurons"]
    added = store.family_counts().groupby(["model", "family"], as_index=False)[counted].sum()
    assert by_model[["model", "family", *counted]].values.tolist() == added.values.tolist()
    assert set(by_model["family"]) == LOOKED_FOR
    with pytest.raises(InputError, match="--by 'neuron' is no way to count; choose from layer, model"):
        store.family_counts(by="neuron")


def test_a_neuron_that_is_not_universal_is_counted_as_well(published_family, engine, store):
    execute(
        engine,
        """UPDATE activation_statistics SET sparsity = 0 WHERE neuron_id =
           (SELECT min(id) FROM neurons WHERE layer = 1 AND "index" = :last)""",
        last=D_MLP - 1,
    )
    store.relabel()
    counts = store.family_counts(model=MODELS[0]).set_index(["layer", "family"])
    assert counts.loc[(1, "dead")].tolist()[:4] == [MODELS[0], 1, 0, 0]
    assert counts.loc[(0, "dead")].tolist()[:4] == [MODELS[0], 0, 0, 0]


@pytest.mark.parametrize(
    "published", [("weights",), ("weights", "positions"), ("activations", "distributions"), ("vocabulary",)]
)
def test_families_whose_part_the_run_lacks_are_not_listed(engine, published):
    publish(engine, *published)
    expected = {rule.family for rule in parts.rules() if {*parts.parts_of_rule(rule.family)} & {*published}} - {"unexplained"}
    assert families(engine) == expected


@pytest.mark.parametrize(
    ("change", "family"),
    [
        ("UPDATE position_statistics SET mutual_information = NULL", "position"),
        ("UPDATE subset_statistics SET variance_reduction = NULL", "context context_off"),
        ("DELETE FROM subset_statistics", "context context_off"),
        ("DELETE FROM run_parts WHERE part = 'correlations'", "unexplained"),
        ("UPDATE explanations SET held_out_variance_reduction = NULL", OF_FEATURES),
    ],
)
def test_what_nothing_can_be_said_of_was_not_looked_for(published_family, engine, store, change, family):
    """Too few rows for positions, a corpus without subsets, models that were not compared, too few documents held out."""
    assert families(engine) == LOOKED_FOR
    execute(engine, change)
    store.relabel()
    assert families(engine) == LOOKED_FOR - set(family.split())


def test_a_half_that_says_nothing_is_told(published_family, engine, store):
    execute(engine, "UPDATE explanations SET held_out_variance_reduction = NULL")
    store.relabel()
    with engine.connect() as connection:
        said = why_empty.labels(connection, LabelFilter(family="token_class"))
    assert said == (
        f"the family token_class was not looked for in run {published_family}: its documents are too few to score features on "
        "the half that is held out, or were read by an earlier version"
    )


def test_topics_are_enough_to_look_for_classes_of_tokens(engine, store):
    publish(engine, "topics")
    store.relabel()
    assert families(engine) == {"previous_token", "token_class"}


def test_publication_after_labels_keeps_the_rows_of_zero(published_family, engine, store):
    """The sums are written again after the labels, and by relabelling; both give the same rows."""
    statement = "SELECT * FROM label_totals ORDER BY run_id, model_id, family, layer"
    published = rows(engine, statement)
    store.relabel()
    assert rows(engine, statement) == published
    assert one(engine, "SELECT count(*) FROM label_totals WHERE labels = 0 AND subtype <> ''") == 0
