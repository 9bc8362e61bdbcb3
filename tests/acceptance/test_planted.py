"""Planted neurons get exactly their labels, in both seeds, read back by SQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.acceptance.ingests import rows
from tests.acceptance.planted_labels import SHORT, assert_labels, ingested, labels_of
from tests.planted import PlantedFamily, planted_family


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlantedFamily:
    return planted_family(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def published(server: URL, template: str, family: PlantedFamily) -> Iterator[str]:
    with ingested(server, template, family, context=SHORT, syntax_subsets=("first",)) as url:
        yield url


def test_planted_neurons_get_exactly_their_labels(published: str, family: PlantedFamily) -> None:
    assert {neuron.family for neuron in family.neurons} == {"alphabet", "unigram", "token_class", "previous_token"}
    assert_labels(published, family, labels_of(family))


def test_seed_b_is_recovered_neuron_by_neuron(published: str, family: PlantedFamily) -> None:
    """Constant fillers correlate with nothing; every other neuron with its permuted self."""
    matches = rows(
        published,
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
    surely = rows(
        published,
        """SELECT count(*), count(*) FILTER (WHERE excess_corr - 1.96 * excess_se > 0.5),
                  count(*) FILTER (WHERE universal = 'yes'), max(mean_corr_se)
           FROM neuron_profiles WHERE model = :b AND NOT degenerate""",
        b=Path(family.b).name,
    )
    ((n_moving, above, universal, error),) = surely
    assert n_moving >= universal == above > 0 and error < 1e-5, "of a copy no block says anything else"
