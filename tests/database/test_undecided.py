"""Universal, not, or undecided: by hand around the threshold, and in everything that counts neurons."""

import pytest

from catalog.labels.labelling import decide_universal
from catalog.publishing.summaries import summarise
from tests.database.helpers import execute, one, rows
from tests.published_rows import MODELS, UNIVERSAL


def follow(engine) -> None:
    with engine.begin() as connection:
        for (run,) in rows(engine, "SELECT id FROM runs"):
            decide_universal(connection, run, 1)
            summarise(connection, run)


STATES = [
    (0.5, 0.0, "no"),
    (0.6, 0.05, "yes"),
    (0.6, 0.0510, "yes"),
    (0.6, 0.0511, "undecided"),
    (0.5, 0.01, "undecided"),
    (0.4, 0.0511, "undecided"),
    (0.4, 0.0510, "no"),
    (0.9, None, "undecided"),
    (0.1, None, "undecided"),
    (None, None, "no"),
]
"""Excess correlation, its standard error, and what that says where the threshold is 0.5."""


@pytest.mark.parametrize(("excess", "error", "state"), STATES)
def test_a_neuron_is_undecided_where_the_threshold_is_within_its_error(published_family, engine, excess, error, state):
    """And where its error is unknown; what counts neurons counts it apart."""
    neuron = "neuron_id = (SELECT min(neuron_id) + 3 FROM universality)"
    measured = {"excess": excess, "error": error}
    execute(engine, f"UPDATE universality SET excess_corr = :excess, excess_se = :error WHERE {neuron}", **measured)
    follow(engine)
    assert one(engine, f"SELECT universal FROM universality WHERE {neuron}") == state
    assert rows(engine, f"SELECT DISTINCT universal FROM neuron_profiles WHERE {neuron}") == [(state,)]
    assert one(engine, f"SELECT count(*) FROM universal_neurons WHERE {neuron}") == (state == "yes")
    assert rows(engine, f"SELECT DISTINCT universal FROM labels WHERE {neuron}") == [(state,)]
    others = len(MODELS) * len(UNIVERSAL) - 1
    expected = [(others + (state == "yes"), int(state == "undecided"))]
    assert rows(engine, "SELECT sum(n_universal)::int, sum(n_undecided)::int FROM layer_profiles") == expected
    counted = rows(
        engine,
        f"""SELECT sum(universal_neurons)::int, sum(undecided_neurons)::int FROM family_counts
             WHERE family = (SELECT min(family) FROM labels WHERE {neuron}) AND model = '{MODELS[0]}'""",
    )
    assert counted[0][1] == (state == "undecided")
