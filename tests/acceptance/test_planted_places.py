"""Neurons planted for a position, BOS, a subset or nothing get exactly their labels, in both seeds, read back by SQL."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sqlalchemy import URL

from catalog.settings import home
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.corpus.batches import token_batches
from ingest.corpus.files import CorpusSource
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.statistics.distributions import QUANTILES
from ingest.statistics.jackknife import LEAST_BLOCKS
from ingest.statistics.layers import EARLY
from tests import references
from tests.acceptance.ingests import assert_same, contract, rows, run_ingest
from tests.acceptance.planted_labels import INTERVENTION_TOKENS, assert_labels, ingested
from tests.planted_places import CODE, CONTEXT, D_MLP, DOCUMENTS, HIGH_OFTEN, PROSE, PlacesFamily, places_family


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlacesFamily:
    return places_family(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def published(server: URL, template: str, family: PlacesFamily) -> Iterator[str]:
    with ingested(server, template, family, syntax_subsets=(PROSE,)) as url:
        yield url


def test_planted_neurons_get_exactly_their_labels(published: str, family: PlacesFamily) -> None:
    assert_labels(published, family, {(0, index): {label} for index, label in family.labels.items()})


def test_statistics_are_those_of_all_activations_at_once(published: str, family: PlacesFamily) -> None:
    """By position, per subset, without early positions, quantiles and the value on BOS, in float64 from the checkpoint."""
    corpus = corpus_of(family)
    pre, post, kept = activations(family, corpus)
    subsets = (corpus.subset_ids == corpus.subset_names.index(CODE)).astype(int)
    own = kept & (subsets == 1)[:, None]
    late = kept & (np.arange(CONTEXT) >= EARLY)
    active = (pre > 0).mean(0)
    name = Path(family.a).name
    found = rows(
        published,
        """SELECT s.n_tokens, s.mean, s.sparsity, s.post_var, l.n_tokens, l.mean, l.post_var, d.bos_activation, d.post_p50,
                  d.post_p99_9, p.n_rows, h.pre, h.pre_masked
           FROM neuron_subsets s JOIN late_statistics l USING (run_id, neuron_id)
           JOIN distribution_statistics d USING (run_id, neuron_id) JOIN position_statistics p USING (run_id, neuron_id)
           JOIN histograms h USING (run_id, neuron_id)
           WHERE s.model = :model AND s.subset = :subset ORDER BY s.neuron""",
        model=name, subset=CODE,
    )  # fmt: skip
    assert len(found) == D_MLP
    exact = np.stack([
        np.full(D_MLP, own.sum()), pre[own].mean(0), (pre[own] > 0).mean(0), post[own].var(0),
        np.full(D_MLP, late.sum()), pre[late].mean(0), post[late].var(0), post[:, 0].mean(0),
    ])  # fmt: skip
    np.testing.assert_allclose(np.array([row[:8] for row in found], dtype=float).T, exact, rtol=1e-4, atol=1e-5)
    shares = np.quantile(post[kept], (0.5, 0.999), axis=0, method="inverted_cdf").T
    np.testing.assert_allclose(np.array([row[8:10] for row in found], dtype=float), shares, rtol=1 / 16, atol=2**-8)
    assert {row[10] for row in found} == {len(pre)} and len(QUANTILES) == 9
    assert all(sum(row[11]) == kept.sum() and sum(row[12]) == (~kept).sum() for row in found)
    ((curve, intervals),) = rows(
        published, "SELECT curve, runs FROM position_neurons WHERE model = :m AND pattern = 'oscillatory'", m=name
    )
    index = next(index for index, label in family.labels.items() if label[1] == "oscillatory")
    np.testing.assert_allclose(curve, active[:, index], atol=1e-6)
    assert [span[:2] for span in intervals if span[2] == "high"] == [list(span) for span in HIGH_OFTEN]


def test_standard_errors_are_those_of_a_jackknife_over_all_activations(published: str, family: PlacesFamily) -> None:
    """Each block of documents left out in turn, in float64; columns, views and evidence have them."""
    corpus = corpus_of(family)
    pre, post, kept = activations(family, corpus)
    blocks = corpus.block_ids
    of_kept = np.broadcast_to(blocks[:, None], kept.shape)[kept]
    assert len(np.unique(blocks)) > LEAST_BLOCKS
    name, values = Path(family.a).name, (pre[kept], post[kept])

    def moments(tokens: np.ndarray) -> np.ndarray:
        both = [references.moments(x[tokens])[name] for x in values for name in ("mean", "var", "skew", "kurt")]
        return np.stack([*both, (values[0][tokens] > 0).mean(0)])

    expected = references.jackknife(of_kept, moments)
    frequency = (values[0] > 0).mean(0)
    expected[-1, (frequency == 0) | (frequency == 1)] = np.nan
    found = rows(
        published,
        """SELECT mean_se, var_se, skew_se, kurt_se, post_mean_se, post_var_se, post_skew_se, post_kurt_se, sparsity_se
           FROM neuron_profiles WHERE model = :m ORDER BY layer, neuron""",
        m=name,
    )
    varies = values[1].std(0) > 1e-5
    stored = np.array(found, dtype=float).T
    assert np.isfinite(stored[:, varies]).mean() > 0.9
    np.testing.assert_allclose(stored[:, varies], expected[:, varies], rtol=1e-3, atol=1e-6)
    found = rows(
        published,
        """SELECT p.mutual_information_se, p.mutual_information_bos_se, l.evidence
           FROM neurons n JOIN models m ON m.id = n.model_id AND m.name = :m JOIN position_statistics p ON p.neuron_id = n.id
           LEFT JOIN labels l ON l.neuron_id = n.id AND l.family = 'position' ORDER BY n.index""",
        m=name,
    )
    for column, first in ((0, 1), (1, 0)):
        active = pre[:, first:] > 0
        error = references.jackknife(blocks, lambda rows, active=active: references.mutual_information(active[rows]))
        np.testing.assert_allclose([row[column] for row in found], error, rtol=1e-6, atol=1e-9)
    labelled = [(row[0], row[2]) for row in found if row[2] is not None]
    assert labelled and all(evidence["mutual_information_se"] == error for error, evidence in labelled)


def test_a_dead_neuron_is_bounded_by_documents_too(published: str, family: PlacesFamily) -> None:
    n = corpus_of(family).meta.n_documents
    assert rows(published, "SELECT n_documents FROM corpora") == [(n,)] and 0 < n <= sum(DOCUMENTS.values())
    found = rows(
        published,
        """SELECT DISTINCT v.n_documents, v.upper_bound_documents::float, l.evidence -> 'n_documents',
                  l.evidence -> 'upper_bound_documents'
           FROM dead_neurons v JOIN labels l USING (run_id, neuron_id) WHERE l.family = 'dead'""",
    )
    assert found == [(n, pytest.approx(3 / n), n, pytest.approx(3 / n))]


def corpus_of(family: PlacesFamily) -> TokenCorpus:
    checkpoint = open_checkpoint(parse_model_argument(str(family.a)), torch.device("cpu"))
    info = tokenizer_identity(checkpoint.tokenizer)
    return tokenise(CorpusSource(str(family.corpus)), info, checkpoint.tokenizer, CONTEXT, None, 0, False, home() / "corpora")


def activations(family: PlacesFamily, corpus: TokenCorpus) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """pre, post (rows, context, neurons) float64; kept (rows, context)."""
    checkpoint = open_checkpoint(parse_model_argument(str(family.a)), torch.device("cpu"))
    parts = []
    with torch.inference_mode():
        for batch in token_batches(corpus, 4096, torch.device("cpu")):
            ((pre, post),) = checkpoint.mlp_activations(batch.tokens)
            kept = torch.zeros(batch.tokens.numel(), dtype=torch.bool)
            kept[batch.kept] = True
            parts.append((pre.double().numpy(), post.double().numpy(), kept.view(batch.tokens.shape).numpy()))
    pre, post, kept = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return pre, post, kept


def test_any_plan_publishes_the_same(published: str, family: PlacesFamily) -> None:
    reference = contract(published)
    cut = run_ingest(
        published, [family.a, family.b], family.corpus,
        only=(), syntax_subsets=(PROSE,), intervention_tokens=INTERVENTION_TOKENS,
        jobs=5, memory_gb=0.01, batch_tokens=1000, again=True,
    )  # fmt: skip
    assert_same(contract(published, cut.run_id), reference)


def test_too_few_rows_leave_positions_undefined_and_no_subsets_leave_contexts_out(
    database_url: str, family: PlacesFamily, tmp_path: Path
) -> None:
    texts = [json.loads(line)["text"] for line in family.corpus.read_text().splitlines()[:8]]
    corpus = tmp_path / "few.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    run_ingest(database_url, [family.a, family.b], corpus)
    assert rows(database_url, "SELECT DISTINCT mutual_information, pattern, strength FROM position_statistics") == [
        (None, None, None)
    ]
    assert rows(database_url, "SELECT count(*) FROM position_neurons") == [(0,)]
    errors = "count(mean), count(mean_se), count(kurt_se), count(post_mean_se), count(sparsity_se)"
    assert rows(database_url, f"SELECT {errors} FROM activation_statistics") == [(2 * D_MLP, 0, 0, 0, 0)]
    assert rows(database_url, "SELECT count(mutual_information_se) FROM position_statistics") == [(0,)]
    assert rows(database_url, "SELECT count(*) FROM subset_statistics") == [(0,)]
    assert rows(database_url, "SELECT count(*) FROM labels WHERE family IN ('context', 'position')") == [(0,)]
    assert PROSE != CODE
