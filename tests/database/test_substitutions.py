"""What readers are told of substitutions: as a filter of labels, as columns of matches, and why there are none."""

import pytest

import catalog
from catalog import LabelFilter, NeuronRef
from catalog.errors import InputError
from catalog.questions import why_empty
from tests.database.helpers import execute
from tests.published_rows import MODELS

A, B, C = MODELS
RESTORED = {(1, 10): (0.9, 0.7), (1, 2): (0.4, None), (0, 3): (None, None)}
"""Of neurons of the first model, what their matches restore in the second and in the third."""


@pytest.fixture
def store(published_family, engine):
    opened = catalog.Catalog(engine)
    yield opened
    opened.close()


@pytest.fixture
def measured(store, engine):
    """The family's first model, as if neurons had been replaced."""
    execute(engine, "INSERT INTO run_parts (run_id, part, definition_version) VALUES (1, 'substitution', 1)")
    for (layer, index), of_models in RESTORED.items():
        execute(
            engine,
            """INSERT INTO replaced_neurons (run_id, neuron_id, n_fitted, n_tokens, block_tokens, blocks, token_blocks)
               SELECT 1, n.id, 100, 100, '{}', '{}', '{}' FROM neurons n JOIN models m ON m.id = n.model_id
                WHERE m.name = :model AND n.layer = :layer AND n."index" = :index""",
            model=A, layer=layer, index=index,
        )  # fmt: skip
        for other, restored in zip((B, C), of_models, strict=True):
            execute(
                engine,
                """INSERT INTO substitutions (run_id, neuron_id, other_model_id, kind, other_neuron_id, restored, restored_se,
                                              blocks)
                   SELECT 1, p.neuron_id, p.other_model_id, 'match', p.other_neuron_id, CAST(:restored AS float8),
                          CAST(:restored AS float8) / 10, '{}'
                     FROM pairs p JOIN neurons n ON n.id = p.neuron_id JOIN models m ON m.id = n.model_id
                     JOIN models o ON o.id = p.other_model_id
                    WHERE p.rank = 1 AND m.name = :model AND o.name = :other AND n.layer = :layer AND n."index" = :index""",
                restored=restored, model=A, other=other, layer=layer, index=index,
            )  # fmt: skip
    return store


@pytest.mark.parametrize(
    ("least", "places"), [(0.81, set()), (0.79, {(1, 10)}), (0.4, {(1, 10), (1, 2)}), (-1, {(1, 10), (1, 2)})]
)
def test_labels_of_neurons_whose_matches_restore_enough(measured, least, places):
    """Over the other models in which it was measured, on average."""
    wanted = LabelFilter(min_restored=least, limit=0)
    found = measured.find_labels(wanted)
    assert set(found[["model", "layer", "neuron"]].itertuples(index=False, name=None)) == {(A, *place) for place in places}
    assert measured.count_labels(wanted) == len(found)


def test_matches_say_what_they_restore(measured):
    found = measured.neuron_matches(NeuronRef(A, 1, 10), limit=0).set_index(["other_model", "rank"])
    assert found.loc[B, 1]["restored"] == 0.9 and found.loc[B, 1]["restored_se"] == pytest.approx(0.09)
    assert found.loc[C, 1]["restored"] == 0.7
    assert found.xs(2, level="rank")[["restored", "restored_se"]].isna().all(axis=None)


def test_no_answer_says_why(store, engine):
    wanted = LabelFilter(min_restored=0.5)
    assert store.why(why_empty.labels, wanted) == (
        "never measured: run 1 has no substitutions; repeat its `catalog ingest` with --only substitution"
    )
    execute(engine, "INSERT INTO run_parts (run_id, part, definition_version) VALUES (1, 'substitution', 1)")
    assert store.why(why_empty.labels, wanted).endswith("meets --min-restored 0.5")
    with pytest.raises(InputError, match="--min-restored"):
        store.find_labels(LabelFilter(min_restored=float("nan")))
