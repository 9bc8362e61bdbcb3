"""The rule of entropy neurons: both changes of one sign, and more than every control."""

import math

import pytest

from catalog.publishing.relabel import relabel
from tests.database.helpers import execute, one, rows
from tests.every_role import ENTROPY
from tests.published_rows import MODELS

SIGNS = {1: [("entropy",)], -1: [("anti_entropy",)], 0: []}
CONTROL = """neuron_id = (SELECT {}(neuron_id) FROM interventions WHERE purpose = 'control')"""


@pytest.fixture
def neuron(published_every_family, engine):
    """The neuron that is a candidate by its weights, its controls changing entropy by 0.1, -0.3 at most."""
    execute(engine, "UPDATE interventions SET entropy_delta = 0.1 WHERE purpose = 'control'")
    execute(engine, f"UPDATE interventions SET entropy_delta = -0.3 WHERE {CONTROL.format('min')}")
    execute(engine, f"UPDATE interventions SET entropy_delta = NULL WHERE {CONTROL.format('max')}")
    place = """SELECT n.id FROM neurons n JOIN models m ON m.id = n.model_id
               WHERE m.name = :model AND n.layer * m.d_mlp + n."index" = :flat"""
    return one(engine, place, model=MODELS[0], flat=ENTROPY)


def signs(engine, neuron: object) -> list[tuple]:
    relabel(engine)
    found = "SELECT family FROM labels WHERE neuron_id = :neuron AND family IN ('entropy', 'anti_entropy')"
    return rows(engine, found, neuron=neuron)


@pytest.mark.parametrize(
    ("entropy", "scale", "expected"),
    [(0.5, 0.1, 1), (-0.5, -0.1, -1), (0.5, -0.1, 0), (-0.5, 0.1, 0), (0.2, 0.1, 0), (-0.25, -0.1, 0), (math.nan, 0.1, 0)],
)
def test_a_sign_needs_both_changes_and_more_than_every_control(engine, neuron, entropy, scale, expected):
    execute(
        engine,
        "UPDATE interventions SET entropy_delta = :entropy, scale_delta = :scale WHERE neuron_id = :neuron",
        neuron=neuron, entropy=None if math.isnan(entropy) else entropy, scale=scale,
    )  # fmt: skip
    assert signs(engine, neuron) == SIGNS[expected]


@pytest.mark.parametrize(
    "change", ["DELETE FROM interventions", "UPDATE interventions SET entropy_delta = NULL"], ids=["none", "undefined"]
)
def test_without_controls_there_is_no_sign(engine, neuron, change):
    execute(engine, "UPDATE interventions SET entropy_delta = 1, scale_delta = 1 WHERE neuron_id = :neuron", neuron=neuron)
    assert signs(engine, neuron) == SIGNS[1]
    execute(engine, f"{change} WHERE purpose = 'control'")
    assert signs(engine, neuron) == SIGNS[0]
