"""Planted neurons get exactly their labels, in both seeds, read back by SQL."""

from pathlib import Path

import pytest

from tests.acceptance.ingests import rows, run_ingest
from tests.planted import PlantedFamily, planted_family

PLANTED = ("alphabet", "unigram", "token_class", "previous_token")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlantedFamily:
    return planted_family(tmp_path_factory.mktemp("planted"))


def test_planted_neurons_get_exactly_their_labels(database_url: str, family: PlantedFamily) -> None:
    run_ingest(database_url, [family.a, family.b], family.corpus)
    found = rows(
        database_url,
        "SELECT model, layer, neuron, family, subtype FROM neuron_labels WHERE family = ANY(:families)",
        families=list(PLANTED),
    )
    expected = set()
    for neuron in family.neurons:
        place = family.permutation[neuron.layer].tolist().index(neuron.index)
        for label in neuron.labels:
            expected.add((Path(family.a).name, neuron.layer, neuron.index, *label))
            expected.add((Path(family.b).name, neuron.layer, place, *label))
    assert set(found) == expected
    assert {label[3] for label in expected} == set(PLANTED)


def test_seed_b_is_recovered_neuron_by_neuron(database_url: str, family: PlantedFamily) -> None:
    """Constant fillers correlate with nothing; every other neuron with its permuted self."""
    run_ingest(database_url, [family.a, family.b], family.corpus)
    matches = rows(
        database_url,
        """SELECT u.layer, u.neuron, u.other_layer, u.other_neuron, u.max_corr, u.mutual_best, p.degenerate
           FROM neuron_universality_by_model u JOIN neuron_profiles p USING (run_id, model, layer, neuron)
           WHERE u.model = :b""",
        b=Path(family.b).name,
    )
    n_constant = 0
    for layer, neuron, other_layer, other_neuron, corr, mutual, degenerate in matches:
        if degenerate:
            n_constant += 1
            assert (other_neuron, corr, mutual) == (None, None, False)
            continue
        assert (other_layer, other_neuron) == (layer, family.permutation[layer, neuron])
        assert corr == pytest.approx(1, abs=1e-5) and mutual
    assert n_constant == len(family.constant)
