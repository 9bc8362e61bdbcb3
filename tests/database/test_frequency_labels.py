"""The rule of token-frequency neurons: above the floors, and more than other directions to its side would do by chance."""

import pytest

from catalog.api import connect_rows
from catalog.parts import rule_of
from catalog.publishing.relabel import relabel
from catalog.verify.checks import checks
from tests.database.helpers import execute, one, rows
from tests.every_role import FREQUENCY
from tests.published_rows import MODELS

ID = """SELECT n.id FROM neurons n JOIN models m ON m.id = n.model_id
         WHERE m.name = :model AND n.layer * m.d_mlp + n."index" = :flat"""


@pytest.fixture
def neuron(published_every_family, engine) -> int:
    return int(one(engine, ID, model=MODELS[0], flat=FREQUENCY))


def labels(engine, neuron: int) -> list[tuple]:
    relabel(engine)
    return rows(engine, "SELECT subtype FROM labels WHERE neuron_id = :neuron AND family = 'token_frequency'", neuron=neuron)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ("frequency_effect = 0.04", "frequent"), ("frequency_cosine = -0.9", "rare"), ("frequency_effect = 0.0009", None),
        ("frequency_share = 0.19", None), ("frequency_share = NULL", None), ("frequency_cosine = 0.19", None),
        ("frequency_cosine = NULL", None),
    ],
)  # fmt: skip
def test_a_label_needs_effect_share_and_direction(engine, neuron, changes, expected):
    execute(engine, f"UPDATE confidence SET {changes} WHERE neuron_id = :neuron", neuron=neuron)
    assert labels(engine, neuron) == ([] if expected is None else [(expected,)])


def test_only_controls_to_its_side_count(engine, neuron):
    """Of 47 controls, those of even places promote frequent tokens: one as extreme gives p = 2 / 48, three p = 4 / 48."""
    side = "SELECT neuron_id FROM confidence WHERE sign(frequency_cosine) = {} AND neuron_id <> :neuron ORDER BY 1 LIMIT {}"
    raised = "UPDATE frequency_controls SET frequency_effect = 1 WHERE neuron_id = :neuron AND along_neuron_id IN ({})"
    execute(engine, raised.format(side.format(-1, 20)), neuron=neuron)
    assert labels(engine, neuron) == [("frequent",)]
    execute(engine, raised.format(side.format(1, 1)), neuron=neuron)
    assert labels(engine, neuron) == [("frequent",)]
    found = one(engine, "SELECT evidence FROM labels WHERE neuron_id = :neuron AND family = 'token_frequency'", neuron=neuron)
    assert found["controls"] == 47 and found["p"] == pytest.approx(2 / 48) and found["largest_control"] == 1
    rule = rule_of("token_frequency")
    assert rule is not None
    assert rule.words(found) == (
        "promotes frequent tokens, cosine +0.9 with their log frequency; at its mean, the loss changes by 0.05 nats, of which "
        "0.04 (standard error 0.002, floor 0.001), a share of 0.8, through them; along 47 other directions of its layer at "
        "most 1 (itself 0.04), p 0.0417, 0.0417 among 1 candidates; KL from token frequency -0.02 nats"
    )
    execute(engine, raised.format(side.format(1, 3)), neuron=neuron)
    assert labels(engine, neuron) == []
    with connect_rows(engine.url) as store:
        store.set_rule("token_frequency.q", 0.1)
    assert labels(engine, neuron) == [("frequent",)]


def test_what_does_not_hang_together_is_found(engine, neuron):
    whole = "every neuron of the last layer is ablated, or none of a model"
    shares = "shares are ratios, where the total effect exceeds 1.96 standard errors"
    assert not {whole, shares} & differing(engine)
    execute(engine, "UPDATE confidence SET norm_share = 0.3 WHERE neuron_id = :neuron", neuron=neuron)
    assert shares in differing(engine)
    execute(engine, "DELETE FROM confidence WHERE neuron_id = :neuron", neuron=neuron)
    found = differing(engine)
    assert whole in found and shares not in found


def differing(engine) -> set[str]:
    with engine.connect() as connection:
        return {finding.subject for finding in checks(connection, 1) if finding.status == "differs"}
