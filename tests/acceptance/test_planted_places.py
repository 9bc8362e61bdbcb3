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
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.statistics.distributions import QUANTILES
from ingest.statistics.layers import EARLY
from tests.acceptance.ingests import assert_same, contract, rows, run_ingest
from tests.acceptance.planted_labels import INTERVENTION_TOKENS, assert_labels, ingested
from tests.planted_places import CODE, CONTEXT, D_MLP, HIGH_OFTEN, PROSE, PlacesFamily, places_family


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
    pre, post, kept, subsets = activations(family)
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


def activations(family: PlacesFamily) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """pre, post (rows, context, neurons) float64; kept (rows, context); whether a row is of the subset `code`."""
    checkpoint = open_checkpoint(parse_model_argument(str(family.a)), torch.device("cpu"))
    info = tokenizer_identity(checkpoint.tokenizer)
    corpus = tokenise(CorpusSource(str(family.corpus)), info, checkpoint.tokenizer, CONTEXT, None, 0, False, home() / "corpora")
    parts = []
    with torch.inference_mode():
        for batch in token_batches(corpus, 4096, torch.device("cpu")):
            ((pre, post),) = checkpoint.mlp_activations(batch.tokens)
            kept = torch.zeros(batch.tokens.numel(), dtype=torch.bool)
            kept[batch.kept] = True
            parts.append((pre.double().numpy(), post.double().numpy(), kept.view(batch.tokens.shape).numpy()))
    pre, post, kept = (np.concatenate([part[i] for part in parts]) for i in range(3))
    code = corpus.subset_names.index(CODE)
    return pre, post, kept, (corpus.subset_ids == code).astype(int)


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
    assert rows(database_url, "SELECT count(*) FROM subset_statistics") == [(0,)]
    assert rows(database_url, "SELECT count(*) FROM labels WHERE family IN ('context', 'position')") == [(0,)]
    assert PROSE != CODE
