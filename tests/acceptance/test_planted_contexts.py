"""Neurons of a kind of text are found by what they do on the same tokens, and one of a word that is frequent there is none."""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from tests.acceptance.ingests import rows
from tests.acceptance.planted_labels import SHORT, ingested, places
from tests.planted import PlantedFamily
from tests.planted_contexts import FREQUENT, planted_contexts


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlantedFamily:
    return planted_contexts(tmp_path_factory.mktemp("contexts"))


@pytest.fixture(scope="module")
def published(server: URL, template: str, family: PlantedFamily) -> Iterator[str]:
    with ingested(server, template, family, context=SHORT, only=("activations", "vocabulary", "distributions")) as url:
        yield url


def test_planted_neurons_get_exactly_their_labels(published: str, family: PlantedFamily) -> None:
    wanted = [{("context", "first")}, {("context_off", "first")}, {("unigram", FREQUENT)}]
    for neuron, labels in zip(family.neurons, wanted, strict=True):
        for model, (layer, index) in places(family, (neuron.layer, neuron.index)).items():
            statement = "SELECT family, subtype FROM neuron_labels WHERE model = :model AND layer = :layer AND neuron = :index"
            assert set(rows(published, statement, model=model, layer=layer, index=index)) == labels


def test_the_word_explains_what_the_subset_seems_to(published: str, family: PlantedFamily) -> None:
    """The neuron of the frequent word is more active in the subset, which explains it well enough, but not given the token."""
    word = family.neurons[2]
    ((score, inside, outside, effect),) = rows(
        published,
        """SELECT held_out_variance_reduction, frequency_in, frequency_out, partial_effect FROM neuron_explanations
           WHERE model = 'planted-a' AND layer = :layer AND neuron = :index AND feature = 'subset_first'""",
        layer=word.layer, index=word.index,
    )  # fmt: skip
    assert score > 0.05 and inside > 3 * outside and effect < 0.2


def test_no_label_of_a_context_is_against_its_direction(published: str) -> None:
    against = rows(
        published,
        """SELECT l.neuron_id FROM neuron_labels l JOIN neuron_explanations e ON e.neuron_id = l.neuron_id
              AND e.feature = 'subset_' || l.subtype
            WHERE l.family = 'context' AND (e.frequency_in <= e.frequency_out OR e.rectified_in <= e.rectified_out)
               OR l.family = 'context_off' AND (e.frequency_in >= e.frequency_out OR e.rectified_in >= e.rectified_out)""",
    )
    assert against == []
    ((labels,),) = rows(published, "SELECT count(*) FROM neuron_labels WHERE family LIKE 'context%'")
    assert labels >= 4
