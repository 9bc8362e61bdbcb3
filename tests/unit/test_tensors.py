"""Hashes of tensors: equal for equal values, whatever their sign of zero, and other for any other value."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from catalog.errors import InputError
from catalog.schema.identity import COUNTED_DISTINCT
from ingest.checkpoints import tensors
from ingest.checkpoints.arguments import ModelSource
from ingest.checkpoints.tensors import hashed_weights

SOURCE = ModelSource("m", "/m", None, True)
VALUES = st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45]) | st.floats(width=32, allow_nan=False, allow_infinity=False))


def holding(**values: torch.Tensor) -> nn.Module:
    module = nn.Module()
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))
    return module


@settings(deadline=None)
@given(VALUES, st.integers(1, 7), st.integers(1, 5))
def test_a_hash_is_of_the_values_with_one_zero_however_they_are_cut(values: list[float], at_once: int, few: int) -> None:
    """Against the plain definition, on all data at once."""
    plain = np.array([0.0 if value == 0 else value for value in values], dtype="<f4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "AT_ONCE", at_once)
        patch.setattr(tensors, "FEW", few)
        (row,) = hashed_weights(holding(a=torch.tensor(values, dtype=torch.float32)), SOURCE).tensors
    assert row == ("a", (len(values),), hashlib.sha256(plain.tobytes()).hexdigest(), len(set(plain.tolist())))


def test_distinct_values_are_counted_up_to_a_limit() -> None:
    spread = torch.zeros(3, tensors.FEW)
    spread[2, -300:] = torch.arange(300)
    rows = hashed_weights(holding(all=torch.arange(9000.0), constant=torch.ones(9000), late=spread), SOURCE).tensors
    assert [row.n_distinct for row in rows] == [COUNTED_DISTINCT, 1, COUNTED_DISTINCT]
    assert [row.shape for row in rows] == [(9000,), (9000,), (3, tensors.FEW)]


def test_a_transposed_view_is_what_it_shows() -> None:
    matrix = torch.randn(3, 5)
    turned, copied = (hashed_weights(holding(a=value), SOURCE).tensors for value in (matrix.T, matrix.T.contiguous()))
    assert turned == copied != hashed_weights(holding(a=matrix), SOURCE).tensors


def test_the_hash_of_a_model_changes_with_names_shapes_and_values_and_not_with_the_order() -> None:
    a, b = torch.randn(4, 6), torch.randn(6)
    same = [holding(a=a, b=b), holding(b=b, a=a.clone())]
    others = [
        holding(a=a),
        holding(c=a, b=b),
        holding(a=a.view(6, 4), b=b),
        holding(a=a, b=b + 1e-3),
        holding(a=a, b=b.view(1, 6)),
    ]
    found = [hashed_weights(model, SOURCE).sha256 for model in (*same, *others)]
    assert found[0] == found[1] and len(set(found)) == 1 + len(others)


def test_tied_parameters_count_once() -> None:
    tied = holding(a=torch.randn(4))
    tied.register_parameter("b", tied.a)
    assert [row.name for row in hashed_weights(tied, SOURCE).tensors] == ["a"]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_by_name(wrong: float) -> None:
    with pytest.raises(InputError, match="the weights of /m are not finite in b; "):
        hashed_weights(holding(a=torch.zeros(3), b=torch.tensor([1.0, wrong])), SOURCE)
