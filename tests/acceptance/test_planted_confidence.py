"""Planted token-frequency and entropy neurons get their labels, with LayerNorm and with RMSNorm; decoys get none; by SQL."""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL

import catalog
from tests.acceptance.ingests import rows, run_ingest
from tests.conftest import database
from tests.planted_confidence import D_MLP, DECOYS, FREQUENT, NULL, RARE, planted_confidence

PARTS = ("weights", "activations", "entropy", "confidence")
LAST = 1


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def published(
    request: pytest.FixtureRequest, server: URL, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    planted = planted_confidence(request.param, tmp_path_factory.mktemp("confidence"))
    with database(server, template) as url:
        run_ingest(url, [planted.model], planted.corpus, only=PARTS, context=32, intervention_tokens=2000)
        yield url


def test_planted_neurons_get_exactly_their_labels(published: str) -> None:
    """But for these: log frequency parts the vocabulary, and random neurons may be silent."""
    but = ["partition", "dead", "near_dead"]
    found = rows(published, "SELECT layer, neuron, family, subtype FROM neuron_labels WHERE family <> ALL (:but)", but=but)
    assert set(found) == {
        (LAST, FREQUENT, "token_frequency", "frequent"),
        (LAST, RARE, "token_frequency", "rare"),
        (LAST, NULL, "entropy", "entropy"),
    }


def test_effects_go_where_they_were_planted(published: str) -> None:
    shown = "layer, neuron, null_share, frequency_cosine, norm_share, frequency_share, total_effect"
    found = rows(published, f"SELECT {shown} FROM neuron_confidence")
    assert {(layer, neuron) for layer, neuron, *_ in found} == {(LAST, neuron) for neuron in range(D_MLP)}
    of = {neuron: numbers for _, neuron, *numbers in found}
    for neuron, sign in ((FREQUENT, 1), (RARE, -1)):
        null, cosine, norm, frequency, effect = of[neuron]
        assert cosine == pytest.approx(sign, abs=0.01) and frequency > 0.8 and norm < 0.3 and null < 0.1 and effect > 0.01
    null, _, norm, _, effect = of[NULL]
    assert null == pytest.approx(1, abs=0.01) and norm > 0.95 and effect > 0.001
    for decoy in DECOYS:
        null, cosine, norm, frequency, effect = of[decoy]
        assert null < 0.4 and abs(cosine) < 0.3 and abs(norm) < 0.4 and frequency < 0.4 and effect > 0.001


def test_controls_of_candidates_do_less(published: str) -> None:
    found = rows(
        published,
        """SELECT n.neuron, n.promotes = t.promotes, n.p, n.controls, n.candidates, t.tested_effect, n.largest_control
           FROM token_frequency_neurons n JOIN token_frequency_candidates t USING (run_id, neuron_id)""",
    )
    assert {neuron for neuron, *_ in found} == {FREQUENT, RARE}
    for _, same, p, controls, candidates, effect, largest in found:
        assert same and p == pytest.approx(1 / (1 + controls)) and (controls, candidates) == (100, 3)
        assert effect > 2 * (largest or 0)


def test_the_catalog_says_so(published: str) -> None:
    with catalog.connect(published) as store:
        shown = store.find_labels(catalog.LabelFilter(family="token_frequency", limit=0))
        assert set(zip(shown["neuron"], shown["subtype"], strict=True)) == {(FREQUENT, "frequent"), (RARE, "rare")}
        page = store.neuron(catalog.NeuronRef(shown["model"][0], LAST, FREQUENT)).tables["confidence"]
        assert page["frequency_share"][0] > 0.8
    ((blocks, seen, counted),) = rows(published, "SELECT n_blocks, vocabulary - unseen, counted FROM model_confidence")
    assert blocks >= 10 and seen == 120 and counted > 5000
