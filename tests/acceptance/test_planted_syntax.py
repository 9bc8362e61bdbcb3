"""Neurons of plural nouns and of what follows a determiner are labelled as what they are, in both seeds."""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from tests.acceptance.ingests import rows
from tests.acceptance.planted_labels import SHORT, assert_labels, ingested, labels_of
from tests.planted import PlantedFamily
from tests.planted_syntax import planted_syntax


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlantedFamily:
    return planted_syntax(tmp_path_factory.mktemp("syntax"))


@pytest.fixture(scope="module")
def published(server: URL, template: str, family: PlantedFamily) -> Iterator[str]:
    with ingested(server, template, family, context=SHORT, syntax_subsets=("first",)) as url:
        yield url


def test_planted_neurons_get_exactly_their_labels(published: str, family: PlantedFamily) -> None:
    """Both fire on frequent words that have all four spellings: what is no syntax had its chance."""
    assert [label for neuron in family.neurons for label in neuron.labels] == [
        ("syntax", "morph_plural"), ("previous_token", "dep_det"),
    ]  # fmt: skip
    assert_labels(published, family, labels_of(family))


def test_no_other_feature_comes_near_what_was_planted(published: str, family: PlantedFamily) -> None:
    plural, after = (explanations(published, neuron.layer, neuron.index) for neuron in family.neurons)
    assert plural[0][1:] == ("spacy_morph_plural", "current") and plural[0][0] > 0.9
    of_vocabulary = [(score, name) for score, name, _ in plural if not name.startswith("spacy_")]
    assert {"end_w_s", "end_w_en"} <= {name for _, name in of_vocabulary} and max(of_vocabulary)[0] < 0.2
    assert after[0][1:] == ("spacy_dep_det", "previous") and after[0][0] > 0.8
    assert max(score for score, name, _ in after if not name.startswith("spacy_")) < 0.4


def explanations(url: str, layer: int, index: int) -> list[tuple[float, str, str]]:
    """Variance reduction, feature and shift of what explains a neuron of the first seed, best first."""
    return rows(
        url,
        """SELECT variance_reduction, feature, shift FROM neuron_explanations
           WHERE model = 'planted-a' AND layer = :layer AND neuron = :index ORDER BY rank""",
        layer=layer, index=index,
    )  # fmt: skip
