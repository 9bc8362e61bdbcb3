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

INTERVENTION_TOKENS = 500
"""So few that holding two dozen neurons at eight values takes seconds."""

Place = tuple[int, int]
"""Layer and index."""

NAMED_BY_PARTNER = ("antipodal", "duplicate")
"""Families whose subtype is the place of another neuron."""


@contextmanager
def ingested(server: URL, template: str, family: PlantedFamily | PlacesFamily, **settings: object) -> Iterator[str]:
    """Address of a database that holds the family, computed with every part there is unless `only` names some."""
    given = {"only": (), "intervention_tokens": INTERVENTION_TOKENS, **settings}
    with database(server, template) as url:
        run_ingest(url, [family.a, family.b], family.corpus, **given)
        yield url


def assert_labels(url: str, family: PlantedFamily | PlacesFamily, labels: Mapping[Place, set[tuple[str, str]]]) -> None:
    """Both seeds have these labels and no others.

    `unexplained` is apart, for it is planted nowhere and true of every dense filler: its permuted self makes it universal,
    and no rule knows it. Having a twin in its own model explains no neuron either. `io_class` is apart as well: planted neurons
    read and write directions of the same few tokens, so that some write what they read.

    Args:
        labels: family and subtype of all labels of the first seed, by neuron.
    """
    expected = {
        (model, *places(family, place)[model], *_label_in(family, model, label))
        for place, own in labels.items()
        for label in own
        for model in (family.a.name, family.b.name)
    }
    found = rows(url, "SELECT model, layer, neuron, family, subtype FROM neuron_labels")
    unexplained = {label for label in found if label[3] == "unexplained"}
    directed = {label for label in found if label[3] == "io_class"}
    told = set(found) - unexplained - directed
    assert told == expected, f"more: {told - expected}; missing: {expected - told}"
    constant = set(rows(url, "SELECT model, layer, neuron FROM neuron_profiles WHERE degenerate"))
    explained = {label[:3] for label in expected if label[3] not in NAMED_BY_PARTNER}
    assert not {label[:3] for label in unexplained} & (constant | explained)
    ((known,),) = rows(url, "SELECT count(mutual_information) FROM position_statistics")
    assert known, "too few rows to tell a neuron's position"


def places(family: PlantedFamily | PlacesFamily, place: Place) -> dict[str, Place]:
    """Where a neuron of the first seed is in each, by the seed's name."""
    layer, index = place
    return {family.a.name: place, family.b.name: (layer, family.permutation[layer].tolist().index(index))}


def _label_in(family: PlantedFamily | PlacesFamily, model: str, label: tuple[str, str]) -> tuple[str, str]:
    """A label of the first seed as the model's neuron has it."""
    name, subtype = label
    if name not in NAMED_BY_PARTNER:
        return label
    layer, index = map(int, subtype.split("."))
    return name, "{}.{}".format(*places(family, (layer, index))[model])


def labels_of(family: PlantedFamily) -> dict[Place, set[tuple[str, str]]]:
    """All labels of its planted neurons."""
    return {(neuron.layer, neuron.index): neuron.labels for neuron in family.neurons}
