"""How sure published correlations are, against float64 on all data at once, whatever cut the work."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ingest.corpus.batches import kept_activations, token_batches
from ingest.inputs import load_inputs
from ingest.progress import Silent
from ingest.settings import IngestSettings
from ingest.statistics.correlation import rotation
from ingest.statistics.jackknife import LEAST_BLOCKS, standard_error
from tests import references
from tests.acceptance.ingests import contract, rows, run_ingest, small_corpus, tiny_family

ONLY = {"only": ("correlations",)}
TOP_K = 6


def activations(models: list[Path], corpus: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Post of each model, (kept tokens, neurons), and the block of each kept token."""
    inputs = load_inputs(IngestSettings(tuple(map(str, models)), str(corpus), **ONLY), Silent())
    assert inputs.corpus is not None
    (batch,) = token_batches(inputs.corpus, inputs.corpus.n_tokens, torch.device("cpu"))
    with torch.inference_mode():
        found = []
        for checkpoint in inputs.checkpoints:
            checkpoint.process(inputs.tokenizer.n_tokens)
            found.append(kept_activations(checkpoint, batch)[1].double().numpy())
    return found, batch.blocks[batch.kept // inputs.context].numpy()


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    folder = tmp_path_factory.mktemp("errors")
    return tiny_family(folder, "abc", d_mlp=12), small_corpus(folder, 40)


def rotated_without(x: np.ndarray, y: np.ndarray, blocks: np.ndarray, judged: str, rotated: str) -> np.ndarray:
    """(blocks, neurons): baseline without each block, mean over two draws of the unit that is best over all blocks."""
    of_draws = []
    for draw in (0, 1):
        layers = [rotation(0, judged, rotated, layer, draw, 12).double().numpy() for layer in range(y.shape[1] // 12)]
        moving = y * (np.ptp(y, axis=0) > 0)
        units = np.concatenate([moving[:, 12 * i : 12 * i + 12] @ turned.T for i, turned in enumerate(layers)], axis=1)
        best = references.correlation(x, units).argmax(1)
        kept = [blocks != block for block in np.unique(blocks)]
        of_draws.append([references.correlation(x[rest], units[rest])[np.arange(len(best)), best] for rest in kept])
    return np.mean(of_draws, axis=0)


def assert_errors(url: str, run: int, models: list[Path], corpus: Path) -> None:
    """Every error of a run is that of the definition."""
    values, blocks = activations(models, corpus)
    names = [model.name for model in models]
    identities = dict(rows(url, "SELECT name, identity FROM models"))
    filled = np.unique(blocks)
    assert len(filled) >= LEAST_BLOCKS
    every = np.ones(len(filled), dtype=bool)
    for a, x in enumerate(values):
        best_without, baseline_without = [], []
        for b, y in enumerate(values):
            if a == b:
                continue
            without = np.stack([references.correlation(x[blocks != block], y[blocks != block]) for block in filled])
            errors = standard_error(without, every)
            found = rows(
                url,
                """SELECT layer * 12 + neuron, other_layer * 12 + other_neuron, correlation_se, rank
                     FROM history.neuron_matches WHERE run_id = :run AND model = :a AND other_model = :b""",
                run=run, a=names[a], b=names[b],
            )  # fmt: skip
            assert len(found) == x.shape[1] * TOP_K
            neuron, other, error, rank = (np.array(column) for column in zip(*found, strict=True))
            np.testing.assert_allclose(error.astype(float), errors[neuron, other], rtol=1e-3, atol=1e-6)
            first = rank == 1
            partner = np.zeros(x.shape[1], dtype=int)
            partner[neuron[first]] = other[first]
            best_without.append(without[:, np.arange(x.shape[1]), partner])
            baseline_without.append(rotated_without(x, y, blocks, identities[names[a]], identities[names[b]]))
        measured = rows(
            url,
            """SELECT p.mean_corr_se, p.excess_se, count(u.max_corr_se), sum(u.baseline_se ^ 2)
                 FROM history.neuron_profiles p JOIN history.neuron_universality_by_model u USING (run_id, model, layer, neuron)
                WHERE p.run_id = :run AND p.model = :a GROUP BY p.layer, p.neuron, 1, 2 ORDER BY p.layer, p.neuron""",
            run=run, a=names[a],
        )  # fmt: skip
        corr_se, excess_se, n_models, draws = (np.array(column, dtype=float) for column in zip(*measured, strict=True))
        assert (n_models == len(models) - 1).all() and (draws > 0).all()
        np.testing.assert_allclose(corr_se, standard_error(np.mean(best_without, axis=0), every), rtol=1e-3, atol=1e-6)
        excess_without = np.mean(best_without, axis=0) - np.mean(baseline_without, axis=0)
        expected = np.sqrt(standard_error(excess_without, every) ** 2 + draws / n_models**2)
        np.testing.assert_allclose(excess_se, expected, rtol=1e-3, atol=1e-6)
        assert (np.abs(excess_se / np.sqrt(corr_se**2 + draws / n_models**2) - 1) > 0.02).mean() > 0.5, "baselines move as well"


@pytest.mark.parametrize("plan", [{}, {"memory_gb": 0.0018, "jobs": 6, "batch_tokens": 300}], ids=["whole", "cut"])
def test_errors_are_those_of_the_definition(database_url: str, family: tuple[list[Path], Path], plan: dict[str, float]) -> None:
    models, corpus = family
    run = run_ingest(database_url, models[:2], corpus, top_k=TOP_K, **ONLY, **plan).run_id
    assert_errors(database_url, run, models[:2], corpus)
    ((several, left),) = rows(
        database_url,
        "SELECT count(*) > 1, count(*) FILTER (WHERE finished_at IS NULL) FROM run_jobs WHERE kind = 'jackknife'",
    )
    assert (several, left) == (bool(plan), 0)


def test_another_seed_takes_the_errors_of_known_pairs_over(database_url: str, family: tuple[list[Path], Path]) -> None:
    """And adds to the excess of known models what it needs of them, block by block."""
    models, corpus = family
    first = run_ingest(database_url, models[:2], corpus, top_k=TOP_K, **ONLY).run_id
    second = run_ingest(database_url, models, corpus, top_k=TOP_K, **ONLY).run_id
    computed = "SELECT computed_run_id, count(*) FROM run_pairs WHERE run_id = :run GROUP BY 1 ORDER BY 1"
    assert rows(database_url, computed, run=second) == [(first, 1), (second, 2)]
    assert_errors(database_url, second, models, corpus)


def test_one_draw_or_too_few_blocks_decide_nothing(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path, "ab", d_mlp=12), small_corpus(tmp_path, 40)
    states = "SELECT DISTINCT universal, excess_se IS NULL, mean_corr_se IS NULL FROM universality WHERE run_id = :run"
    one_draw = run_ingest(database_url, models, corpus, baseline_draws=1, **ONLY).run_id
    assert rows(database_url, states, run=one_draw) == [("undecided", True, False)]
    few = run_ingest(database_url, models, corpus, max_tokens=160, **ONLY).run_id
    assert rows(database_url, states, run=few) == [("undecided", True, True)]
    assert contract(database_url, few)["universal_neuron_properties"].empty
