"""Detectors of a token and of a trigram, planted in a small real checkpoint, are labelled as what they are."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sqlalchemy import URL

from cli.main import main
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.corpus.batches import token_batches
from ingest.corpus.files import CorpusSource
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.parts.ground import CorpusNgrams
from ingest.parts.ngrams import describe_ngrams
from ingest.statistics.ngrams import ActivityAccumulator
from tests.acceptance.ingests import contract, rows, run_ingest
from tests.acceptance.planted_labels import SHORT, assert_labels, ingested, labels_of
from tests.planted import CONTEXT, D_MLP, N_LAYERS, PlantedFamily
from tests.planted_ngrams import TRIGGER, TRIGRAM, planted_ngrams
from tests.unit.test_ngrams import assert_is_counted

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlantedFamily:
    return planted_ngrams(tmp_path_factory.mktemp("ngrams"))


@pytest.fixture(scope="module")
def published(server: URL, template: str, family: PlantedFamily) -> Iterator[str]:
    with ingested(server, template, family, context=SHORT, syntax_subsets=("first",)) as url:
        yield url


@pytest.fixture(scope="module")
def checkpoint(family: PlantedFamily) -> Checkpoint:
    return open_checkpoint(parse_model_argument(str(family.a)), CPU)


@pytest.fixture(scope="module")
def corpus(family: PlantedFamily, tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    info, cache = tokenizer_identity(family.tokenizer), tmp_path_factory.mktemp("cache")
    return tokenise(CorpusSource(str(family.corpus)), info, family.tokenizer, CONTEXT, None, 0, False, cache)


def activity(checkpoint: Checkpoint, corpus: TokenCorpus) -> np.ndarray:
    """bool (kept, neurons): pre > 0."""
    found = []
    for batch in token_batches(corpus, 4096, CPU):
        layers = checkpoint.mlp_activations(batch.tokens)
        found.append(np.concatenate([pre.numpy()[corpus.kept_mask(batch.tokens.numpy())] for pre, _ in layers], axis=1))
    return np.concatenate(found) > 0


def test_planted_neurons_are_active_where_they_should_be(
    family: PlantedFamily, checkpoint: Checkpoint, corpus: TokenCorpus
) -> None:
    active = activity(checkpoint, corpus)
    tokens = np.asarray(corpus.tokens)
    decoded = family.tokenizer.batch_decode(np.arange(len(family.tokenizer))[:, None])
    text = np.array([word.strip().lower() for word in decoded])[tokens]
    phrase = (text == TRIGRAM[2]) & (np.roll(text, 1, axis=1) == TRIGRAM[1]) & (np.roll(text, 2, axis=1) == TRIGRAM[0])
    phrase[:, :2] = False
    kept = corpus.kept_mask(tokens)
    for neuron, expected in zip(family.neurons, ((text == TRIGGER)[kept], phrase[kept]), strict=True):
        assert expected.sum() > 500
        # a phrase is seen through attention, which is no logic gate at the beginning of a row
        assert (active[:, neuron.layer * D_MLP + neuron.index] == expected).mean() > 0.999


def test_bits_of_a_real_model_are_counted_like_a_dictionary(checkpoint: Checkpoint, corpus: TokenCorpus) -> None:
    active, most = activity(checkpoint, corpus), 9000
    bits = ActivityAccumulator(most, active.shape[1], CPU)
    for batch in token_batches(corpus, 1000, CPU):
        pre = torch.cat([layer for layer, _ in checkpoint.mlp_activations(batch.tokens)], dim=2).flatten(0, 1)
        bits.update(batch, pre[batch.kept], pre)
    assert_is_counted(describe_ngrams(bits, CorpusNgrams(corpus)), corpus, active[:most], most)


def test_planted_neurons_get_exactly_their_labels(published: str, family: PlantedFamily) -> None:
    assert [neuron.family for neuron in family.neurons] == ["token_detector", "ngram_detector"]
    assert_labels(published, family, labels_of(family))


def test_detectors_are_shown_with_what_they_detect(
    published: str, family: PlantedFamily, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    detectors = rows(
        published,
        """SELECT n, tokens, suppressing, mean_effect < 0, mean_effect_raw < 0, share_negative, lowest_percentile < 2
           FROM token_detectors WHERE model = :model ORDER BY n""",
        model=family.a.name,
    )
    assert [(n, sorted(tokens), *rest) for n, tokens, *rest in detectors] == [
        (1, [f" {TRIGGER.capitalize()}", f" {TRIGGER}"], True, True, True, 1.0, True),
        (3, ["".join(f" {word}" for word in TRIGRAM)], False, False, False, 0.0, False),
    ]
    covered = rows(
        published,
        "SELECT layer, covered, new_overall, new_vs_previous, cumulative FROM covered_tokens_by_layer WHERE model = :model",
        model=family.a.name,
    )
    assert covered == [(0, 2, 2, 2, 2), (1, 0, 0, 0, 2)]
    buckets = rows(published, "SELECT n, sum(neurons) FROM ngram_coverage_by_half WHERE model = 'planted-a' GROUP BY 1")
    assert sorted(buckets) == [(n, N_LAYERS * D_MLP) for n in (1, 2, 3)]

    monkeypatch.setenv("CATALOG_DATABASE_URL", published)
    with pytest.raises(SystemExit) as ended:
        main(["find", "--family", "token_detector", "--format", "csv"])
    shown = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0 and len(shown) == 3 and all(f"token_detector,{TRIGGER}" in line for line in shown[1:])


def test_row_ranges_and_batches_give_the_same(database_url: str, family: PlantedFamily) -> None:
    """Eight jobs over ranges of rows, in small batches, and fewer tokens than the corpus has."""
    given = {"only": ("ngrams",), "ngram_tokens": 12_345}
    views = ("ngram_coverage", "token_detectors")
    found = []
    for how in ({}, {"jobs": 8, "batch_tokens": 200, "again": True}):
        report = run_ingest(database_url, [family.a, family.b], family.corpus, **given, **how)
        found.append({name: frame for name, frame in contract(database_url, report.run_id).items() if name in views})
    assert set(found[0]["ngram_coverage"]["n_tokens"]) == {12_345}
    for name in views:
        assert len(found[0][name]) and found[0][name].equals(found[1][name])
