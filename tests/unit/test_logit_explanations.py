"""Explanations of logit effects equal the formulas of SPEC §7 on all tokens at once, and odd features harm nobody."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis, skew

from ingest.features.vocabulary import FeatureTable
from ingest.roles.prediction import EffectExplainer
from ingest.statistics.effects import BlockSize, effect_sums
from tests import references

pytestmark = pytest.mark.usefixtures("two_threads")

TOKENS, D_MODEL, D_MLP = 60, 6, 8


def table_of(matrix: np.ndarray) -> FeatureTable:
    n = len(matrix)
    return FeatureTable([f"feature_{i}" for i in range(n)], ["type"] * n, [""] * n, matrix)


def features(seed: int) -> FeatureTable:
    """Some of them twice, turned round, of one token, of all but one, of all and of none."""
    matrix = np.random.default_rng(seed).random((12, TOKENS)) < np.linspace(0.02, 0.9, 12)[:, None]
    matrix[3] = matrix[4]
    matrix[5] = ~matrix[6]
    matrix[7] = np.arange(TOKENS) == 17
    matrix[8] = np.arange(TOKENS) != 3
    matrix[9], matrix[10] = True, False
    return table_of(matrix)


def weights(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Neuron 0 writes nothing; the effects of the others have a mean other than 0."""
    generator = torch.Generator().manual_seed(seed)
    w_out = torch.randn(2, D_MLP, D_MODEL, generator=generator)
    w_out[0, 0] = 0
    return w_out, torch.randn(D_MODEL, TOKENS, generator=generator) ** 3 + 0.5


def by_definition(values: np.ndarray, member: np.ndarray) -> dict[str, float]:
    """All columns of one neuron and feature; both sides have tokens."""
    inside, outside = values[member], values[~member]
    share, alone = member.mean(), min(len(inside), len(outside)) < 2
    error = np.nan if alone else np.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))

    def reduction(of) -> float:
        return of(values) - share * of(inside) - (1 - share) * of(outside)

    def shape(of) -> float:
        return np.nan if alone else reduction(of)

    return {
        "n_in": len(inside),
        "n_out": len(outside),
        "mean_in": inside.mean(),
        "mean_out": outside.mean(),
        "mean_difference": inside.mean() - outside.mean(),
        "welch_t": (inside.mean() - outside.mean()) / error,
        "variance_reduction": references.variance_reduction(values, member),
        "skew_reduction": shape(lambda x: abs(skew(x))),
        "kurt_reduction": shape(lambda x: kurtosis(x, fisher=False)) / kurtosis(values, fisher=False),
    }


def assert_by_definition(found: dict[str, np.ndarray], effect: np.ndarray, matrix: np.ndarray) -> None:
    defined = [f for f, row in enumerate(matrix) if row.any() and not row.all()]
    expected_rows = []
    for neuron, values in enumerate(effect):
        if values.var() < 1e-20:
            continue
        scores = {f: round(references.variance_reduction(values, matrix[f]), 11) for f in defined}
        best = sorted(defined, key=lambda f: (-scores[f], f))[:5]
        expected_rows += [(neuron, f, rank, by_definition(values, matrix[f])) for rank, f in enumerate(best, 1)]
    assert found["neuron_index"].tolist() == [row[0] for row in expected_rows]
    assert found["feature_index"].tolist() == [row[1] for row in expected_rows]
    assert found["rank"].tolist() == [row[2] for row in expected_rows]
    for name in expected_rows[0][3]:
        expected = np.array([row[3][name] for row in expected_rows])
        # of a few tokens with nearly one effect, powers about the mean of all tokens keep fewer digits
        rtol, atol = (1e-5, 1e-6) if name in ("skew_reduction", "kurt_reduction") else (1e-7, 1e-9)
        np.testing.assert_allclose(found[name], expected, rtol=rtol, atol=atol, err_msg=name)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 99), neurons=st.integers(1, 20), tokens=st.integers(1, 65))
def test_any_blocks_give_the_definition(seed: int, neurons: int, tokens: int) -> None:
    (w_out, w_u), table = weights(seed), features(seed)
    explainer = EffectExplainer(table)
    for sums in effect_sums(w_out, w_u, 3, explainer.classes, BlockSize(neurons, tokens)):
        explainer.add(sums)
    effect = (w_out.double().flatten(0, 1) @ w_u.double()).numpy()
    assert_by_definition(explainer.result(), effect, table.matrix)


def explain_effects(
    w_out: torch.Tensor, w_u: torch.Tensor, table: FeatureTable, advance: Callable[[int], None] = lambda n_neurons: None
) -> dict[str, np.ndarray]:
    """Explanations by one pass over the effects."""
    explainer = EffectExplainer(table)
    for sums in effect_sums(w_out, w_u, 1, explainer.classes):
        explainer.add(sums)
        advance(sums.neurons.stop - sums.neurons.start)
    return explainer.result()


def test_a_pass_of_its_own_gives_the_same_and_tells_of_progress() -> None:
    (w_out, w_u), table = weights(7), features(7)
    done: list[int] = []
    found = explain_effects(w_out, w_u, table, done.append)
    assert sum(done) == 2 * D_MLP
    assert_by_definition(found, (w_out.double().flatten(0, 1) @ w_u.double()).numpy(), table.matrix)
    assert 0 not in found["neuron_index"]


def test_equal_and_opposite_features_tie_in_order() -> None:
    w_out, w_u = weights(1)
    own = np.arange(TOKENS) % 5 == 0
    found = explain_effects(w_out, w_u, table_of(np.stack([~own, own, ~own, own, ~own, own])))
    assert found["feature_index"].reshape(-1, 5).tolist() == [[0, 1, 2, 3, 4]] * (2 * D_MLP - 1)
    assert len(set(found["variance_reduction"].reshape(-1, 5)[0])) == 1
    difference = found["mean_difference"].reshape(-1, 5)
    np.testing.assert_array_equal(difference[:, 0], -difference[:, 1])


def test_classes_without_variance() -> None:
    """Two tokens of equal columns: the variance within is 0, which Welch's t takes and skewness does not."""
    w_out, w_u = weights(2)
    w_u[:, 8] = w_u[:, 5]
    alone = np.isin(np.arange(TOKENS), (5, 8))
    found = explain_effects(w_out, w_u, table_of(np.stack([alone])))
    effect = (w_out.double().flatten(0, 1) @ w_u.double()).numpy()[1:]
    rest = effect[:, ~alone]
    expected = (effect[:, 5] - rest.mean(1)) / np.sqrt(rest.var(1, ddof=1) / rest.shape[1])
    np.testing.assert_allclose(found["welch_t"], expected, rtol=1e-9)
    assert np.isnan(found["skew_reduction"]).all() and np.isnan(found["kurt_reduction"]).all()
    # effects that are equal within both classes are explained entirely
    w_u[:, alone], w_u[:, ~alone] = w_u[:, [0]], w_u[:, [1]]
    found = explain_effects(w_out, w_u, table_of(np.stack([alone])))
    assert found["variance_reduction"] == pytest.approx(np.ones(2 * D_MLP - 1))
    assert np.isnan(found["welch_t"]).all()


@pytest.mark.parametrize("matrix", [np.zeros((0, TOKENS), bool), np.zeros((2, TOKENS), bool), np.ones((2, TOKENS), bool)])
def test_features_that_divide_nothing_give_no_rows(matrix: np.ndarray) -> None:
    found = explain_effects(*weights(3), table_of(matrix))
    assert {len(values) for values in found.values()} == {0} and len(found) == 12
