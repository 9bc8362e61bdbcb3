"""Head compositions equal their definition with the d × d matrices written out (SPEC §4), and q and k keep apart (B16)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.roles.compositions import head_compositions


def weights(seed: int, layers: int, heads: int, d_model: int, d_head: int, d_mlp: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(layers, d_model, d_mlp), (layers, d_mlp, d_model)]
    shapes += [(layers, heads, d_model, d_head)] * 3 + [(layers, heads, d_head, d_model)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def unit(rows: torch.Tensor) -> np.ndarray:
    vectors = rows.double().numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_definition(given: list[torch.Tensor], layer: int, parallel: bool) -> dict[str, np.ndarray]:
    w_in, w_out, *heads = given
    w_q, w_k, w_v, w_o = (head.double().numpy() for head in heads)
    reads, writes = unit(w_in[layer].T), unit(w_out[layer])
    scores: dict[str, list[np.ndarray]] = {"q": [], "k": [], "v": [], "o": []}
    for a in range(len(w_in)):
        for head in range(w_q.shape[1]):
            qk, ov = w_q[a, head] @ w_k[a, head].T, w_v[a, head] @ w_o[a, head]
            if a > layer:
                scores["q"].append(np.linalg.norm(writes @ qk, axis=1) / np.linalg.norm(qk))
                scores["k"].append(np.linalg.norm(qk @ writes.T, axis=0) / np.linalg.norm(qk))
                scores["v"].append(np.linalg.norm(writes @ ov, axis=1) / np.linalg.norm(ov))
            elif a < layer or not parallel:
                scores["o"].append(np.linalg.norm(ov @ reads.T, axis=0) / np.linalg.norm(ov))
    return {name: np.array(rows).reshape(len(rows), len(reads)).T for name, rows in scores.items()}


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 99),
    layers=st.integers(1, 4),
    heads=st.integers(1, 3),
    d_model=st.integers(2, 12),
    d_head=st.integers(1, 14),
    parallel=st.booleans(),
)
def test_scores_equal_the_definition(seed: int, layers: int, heads: int, d_model: int, d_head: int, parallel: bool) -> None:
    given = weights(seed, layers, heads, d_model, d_head, d_mlp=9)
    done: list[int] = []
    found = list(head_compositions(*given, parallel=parallel, advance=done.append))
    assert [scores.layer for scores in found] == list(range(layers)) and sum(done) == layers * 9
    for layer, scores in enumerate(found):
        later, earlier = (layers - 1 - layer) * heads, (layer + (not parallel)) * heads
        for name, expected in by_definition(given, layer, parallel).items():
            own = getattr(scores, name)
            assert own.shape == (9, earlier if name == "o" else later) and own.dtype == np.float32
            np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_head_whose_queries_alone_read_a_neuron() -> None:
    """A head that reads direction 0 with queries and direction 1 with keys, moves 2 to 3, and neurons along each."""
    d_model = 5
    w_out = torch.eye(d_model)[None].repeat(2, 1, 1)
    w_in = w_out.transpose(1, 2).clone()
    w_q, w_k, w_v = (torch.zeros(2, 1, d_model, 1) for _ in range(3))
    w_o = torch.zeros(2, 1, 1, d_model)
    for layer in range(2):
        w_q[layer, 0, 0], w_k[layer, 0, 1], w_v[layer, 0, 2], w_o[layer, 0, 0, 3] = 2, 3, 5, 7
    first, last = head_compositions(w_in, w_out, w_q, w_k, w_v, w_o, parallel=False)
    for name, direction in (("q", 0), ("k", 1), ("v", 2)):
        assert getattr(first, name)[:, 0].tolist() == pytest.approx(np.eye(d_model)[direction])
        assert getattr(last, name).shape == (d_model, 0)
    assert first.o.shape == (d_model, 1)
    np.testing.assert_allclose(last.o, np.tile(np.eye(d_model)[3][:, None], 2), atol=1e-7)


def test_small_scores_keep_their_digits() -> None:
    """A vector that a head all but ignores: its score is 1e-6, whose square is below fp32's rounding of 1."""
    given = weights(0, 2, 1, 4, 2, 1)
    given[1][0, 0] = torch.tensor([1.0, 0, 0, 0])
    given[2][1, 0, 0] *= 1e-6
    (first, _) = head_compositions(*given, parallel=False)
    np.testing.assert_allclose(first.q, by_definition(given, 0, False)["q"], rtol=1e-5)
    assert first.q.item() < 1e-5


def test_nothing_to_divide_by_is_undefined() -> None:
    given = weights(1, 2, 2, 6, 3, 4)
    given[1][0, 2] = 0
    given[2][1, 0] = 0
    first, last = head_compositions(*given, parallel=True)
    assert np.isnan(first.q[2]).all() and np.isnan(first.q[:, 0]).all() and np.isfinite(first.q[[0, 1, 3], 1]).all()
    assert np.isnan(first.k[:, 0]).all() and np.isfinite(first.v[[0, 1, 3]]).all() and np.isfinite(last.o).all()
