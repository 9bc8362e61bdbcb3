"""What tests of planted neurons share: one ingest with every part, and the labels of all neurons of both seeds."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import URL

from tests.acceptance.ingests import rows, run_ingest
from tests.conftest import database
from tests.planted import PlantedFamily
from tests.planted_places import PlacesFamily

SHORT = 32
"""Tokens of a row, so few that the corpora have the 1,000 rows without which no neuron has a position (SPEC 12.8)."""

Place = tuple[int, int]
"""Layer and index."""


@contextmanager
def ingested(server: URL, template: str, family: PlantedFamily | PlacesFamily, **settings: object) -> Iterator[str]:
    """Address of a database that holds the family, computed with every part there is."""
    with database(server, template) as url:
        run_ingest(url, [family.a, family.b], family.corpus, only=(), **settings)
        yield url


def assert_labels(url: str, family: PlantedFamily | PlacesFamily, labels: Mapping[Place, set[tuple[str, str]]]) -> None:
    """Both seeds have these labels and no others.

    `unexplained` is apart, for it is planted nowhere and true of every dense filler: its permuted self makes it universal,
    and no rule knows it.

    Args:
        labels: family and subtype of all labels of the first seed, by neuron.
    """
    expected = {
        (model, layer, place, *label)
        for (layer, index), own in labels.items()
        for model, place in ((family.a.name, index), (family.b.name, family.permutation[layer].tolist().index(index)))
        for label in own
    }
    found = rows(url, "SELECT model, layer, neuron, family, subtype FROM neuron_labels")
    unexplained = {label for label in found if label[3] == "unexplained"}
    assert set(found) - unexplained == expected
    constant = set(rows(url, "SELECT model, layer, neuron FROM neuron_profiles WHERE degenerate"))
    assert not {label[:3] for label in unexplained} & (constant | {label[:3] for label in expected})
    ((known,),) = rows(url, "SELECT count(mutual_information) FROM position_statistics")
    assert known, "too few rows to tell a neuron's position"


def labels_of(family: PlantedFamily) -> dict[Place, set[tuple[str, str]]]:
    """All labels of its planted neurons."""
    return {(neuron.layer, neuron.index): neuron.labels for neuron in family.neurons}
