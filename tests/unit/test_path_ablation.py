"""Path ablation is the removal of one neuron from the query of one destination, done one by one in raw weights (SPEC §9.3)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ingest.checkpoints.checkpoint import Checkpoint
from ingest.roles.heads import Pair
from ingest.roles.path_ablation import PathPoints, ablate_paths, path_points
from ingest.roles.path_summary import RELATIONS, relation, summarise
from tests.raw_attention import BOS, D_MLP, MODELS, N_HEADS, N_LAYERS, RawModel, processed, random_corpus, random_tokens

N_ROWS, CONTEXT = 9, 13
FIRST = 7
"""The first position p ≥ T/2."""
SPECIAL = frozenset({BOS, 1})
CPU = torch.device("cpu")
TOKENS = random_tokens(N_ROWS, CONTEXT)
PLACES = [(row, p) for row in range(N_ROWS) for p in range(FIRST, CONTEXT) if TOKENS[row, p] not in SPECIAL]
NUMBERS = ("act", "p_bos", "z_norm", "o_norm", "delta_p_bos", "delta_z_norm", "delta_o_norm")
PAIRS = [
    Pair(layer, index, head_layer, head)
    for layer in range(N_LAYERS - 1)
    for index in (0, 7, D_MLP - 1)
    for head_layer in range(layer + 1, N_LAYERS)
    for head in range(N_HEADS)
]


class Models:
    """A model in processed weights, the same in raw ones with one clean run, and the points of PAIRS."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint: Checkpoint = processed(folder)
        self.raw = RawModel(folder)
        self.residuals, self.post = self.raw.residuals_and_posts(torch.from_numpy(TOKENS))
        self.points = self.run(PAIRS)

    def run(self, pairs: list[Pair], batch_tokens: int = 10**6, **options: int) -> list[PathPoints]:
        corpus = random_corpus(TOKENS)
        return path_points(self.checkpoint, corpus, pairs, SPECIAL, N_ROWS * CONTEXT, batch_tokens, CPU, **options)


@pytest.fixture(scope="module", params=list(MODELS))
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Models:
    make, config = MODELS[request.param]
    return Models(make(tmp_path_factory.mktemp("paths") / "model", n_layers=N_LAYERS, **config))


def test_one_pass_is_one_by_one_in_raw_weights(models: Models) -> None:
    generator = np.random.default_rng(0)
    largest = np.zeros(3)
    for pair, points in zip(PAIRS, models.points, strict=True):
        assert points.pair == pair and len(points.act) == len(PLACES)
        for i in generator.choice(len(PLACES), 6, replace=False):
            row, p = PLACES[i]
            act = models.post[pair.layer][row, p, pair.index].item()
            residual = models.residuals[pair.head_layer][row]
            clean, ablated = models.raw.ablated(pair, residual, p, 0.0), models.raw.ablated(pair, residual, p, act)
            found = [float(getattr(points, name)[i]) for name in NUMBERS]
            np.testing.assert_allclose(found, [act, *clean, *(ablated - clean)], atol=1e-5, rtol=1e-5)
            largest = np.maximum(largest, np.abs(ablated - clean))
    assert (largest > 1e-3).all()


def test_a_neuron_that_is_off_changes_nothing(models: Models) -> None:
    off = Pair(0, 7, 2, 1)
    checkpoint = models.checkpoint
    seen = checkpoint.visit_activations

    def half_off(tokens, visit) -> None:
        """Activations as they are, but the neuron's are zero in every other position."""

        def changed(layer, pre, post) -> None:
            post = post.clone()
            post[::2, 7] = 0
            visit(layer, pre, post)

        seen(tokens, changed)

    checkpoint.visit_activations = half_off  # type: ignore[method-assign]
    try:
        (points,) = models.run([off])
    finally:
        checkpoint.visit_activations = seen  # type: ignore[method-assign]
    zero = points.act == 0
    assert 0.3 < zero.mean() < 0.9
    for name in ("delta_p_bos", "delta_z_norm", "delta_o_norm"):
        assert (getattr(points, name)[zero] == 0).all() and (getattr(points, name)[~zero] != 0).any()


@settings(max_examples=10, deadline=None)
@given(batch_tokens=st.integers(1, N_ROWS * CONTEXT), order=st.permutations(range(len(PAIRS))), n=st.integers(1, len(PAIRS)))
def test_any_batches_and_any_company_give_the_same(models: Models, batch_tokens: int, order: list[int], n: int) -> None:
    chosen = order[:n]
    found = models.run([PAIRS[i] for i in chosen], batch_tokens)
    for i, points in zip(chosen, found, strict=True):
        assert points.pair == PAIRS[i]
        for name in NUMBERS:
            np.testing.assert_allclose(getattr(points, name), getattr(models.points[i], name), atol=2e-6, rtol=1e-5)


@settings(max_examples=10, deadline=None)
@given(batch_tokens=st.integers(1, N_ROWS * CONTEXT), most=st.integers(0, len(PLACES) + 5), seed=st.integers(0, 9))
def test_random_destinations_are_the_same_for_any_batches(models: Models, batch_tokens: int, most: int, seed: int) -> None:
    found = models.run(PAIRS[:2], batch_tokens, most_points=most, seed=seed)
    assert [len(points.act) for points in found] == [min(most, len(PLACES))] * 2
    (again, _) = models.run(PAIRS[:2], 10**6, most_points=most, seed=seed)
    np.testing.assert_allclose(again.act, found[0].act, atol=2e-6)
    numbers = [np.stack([getattr(points, name) for name in NUMBERS]) for points in (models.points[0], found[0])]
    order = [int(np.abs(numbers[0] - numbers[1][:, [i]]).max(0).argmin()) for i in range(len(found[0].act))]
    assert order == sorted(set(order))


def test_seeds_choose_different_destinations(models: Models) -> None:
    one, other = (models.run(PAIRS[:1], most_points=20, seed=seed)[0] for seed in (0, 1))
    assert not np.array_equal(one.act, other.act)


def test_destinations_are_in_the_second_half_and_no_special_token(models: Models) -> None:
    corpus = random_corpus(TOKENS)
    done: list[int] = []
    arguments = (models.checkpoint, corpus, PAIRS[:1])
    (points,) = path_points(*arguments, SPECIAL, 2 * CONTEXT + 1, 2 * CONTEXT, CPU, done.append)
    assert len(points.act) == sum(row < 3 for row, _ in PLACES) and done == [2 * CONTEXT, CONTEXT]
    (nothing,) = ablate_paths(*arguments, set(range(400)), 2 * CONTEXT, CONTEXT, CPU)
    assert nothing.n == 0 and np.isnan([nothing.act, nothing.act_sd, nothing.p_bos, nothing.fractional_o_norm]).all()
    assert all(np.isnan(vars(own).copy().popitem()[1]) for own in nothing.relations.values())


def test_a_head_before_the_neuron_is_refused(models: Models) -> None:
    order = "beside" if models.raw.is_parallel else "before"
    with pytest.raises(ValueError, match=f"{order} its MLP; give a head of layer 2"):
        models.run([PAIRS[0], Pair(1, 0, 1, 0)])
    with pytest.raises(ValueError, match="last layer"):
        models.run([Pair(2, 0, 2, 0)])


def test_summaries_are_their_definitions(models: Models) -> None:
    found = ablate_paths(models.checkpoint, random_corpus(TOKENS), PAIRS, SPECIAL, 10**6, 50, CPU)
    for points, own in zip(models.points, found, strict=True):
        x = {name: getattr(points, name).astype(np.float64) for name in NUMBERS}
        x["fractional_z_norm"] = x["delta_z_norm"] / x["z_norm"]
        x["fractional_o_norm"] = x["delta_o_norm"] / x["o_norm"]
        assert own.pair == points.pair and own.n == len(PLACES)
        for name, values in x.items():
            assert getattr(own, name) == pytest.approx(values.mean(), rel=1e-4, abs=1e-6)
        assert own.act_sd == pytest.approx(x["act"].std(), rel=1e-4, abs=1e-6)
        assert tuple(own.relations) == RELATIONS
    assert all(np.isfinite(list(vars(own.relations[pair]).values())).all() for own in found for pair in RELATIONS[:3])


@settings(max_examples=50, deadline=None)
@given(
    x=st.lists(st.integers(-4, 4), min_size=3, max_size=30),
    slope=st.integers(-2, 2),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e6]),
)
def test_relations_are_those_of_scipy(x: list[int], slope: int, seed: int, scale: float) -> None:
    values = np.array(x, dtype=np.float64)
    other = (slope * values + np.random.default_rng(seed).integers(-3, 4, len(x))) * scale + 3 * scale
    found = relation(values, other)
    if np.ptp(values) == 0 or np.ptp(other) == 0:
        assert np.isnan([found.pearson, found.spearman, found.slope, found.intercept]).all()
        return
    line = stats.linregress(values, other)
    assert found.pearson == pytest.approx(stats.pearsonr(values, other / scale).statistic, abs=1e-9)
    assert found.spearman == pytest.approx(stats.spearmanr(values, other).statistic, abs=1e-9)
    assert (found.slope / scale, found.intercept / scale) == pytest.approx(
        (line.slope / scale, line.intercept / scale), abs=1e-9
    )


def test_what_is_constant_or_undefined_has_no_relation() -> None:
    points = {name: np.arange(5, dtype=np.float32) for name in NUMBERS} | {"act": np.full(5, 0.7, np.float32)}
    found = summarise(Pair(0, 0, 1, 0), **points)
    assert found.act == pytest.approx(0.7) and found.act_sd == pytest.approx(0, abs=1e-12)
    assert all(np.isnan(found.relations[pair].pearson) for pair in RELATIONS if pair[0] == "act")
    assert found.relations["delta_p_bos", "delta_z_norm"].pearson == pytest.approx(1)
    # a clean norm of zero has no fraction
    assert np.isnan(found.fractional_z_norm) and np.isnan(found.relations["delta_p_bos", "fractional_z_norm"].spearman)
