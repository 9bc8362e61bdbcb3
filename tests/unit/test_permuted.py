"""The proof by a permuted copy tells what is itself, what has another sign, and what is lost."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.permuted import KINDS, arbitrary, failures, judged, permuted
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from tests.decoders import tiny_decoder
from tests.factories import load_raw, tiny_gpt2

CPU = torch.device("cpu")


def frame(**changes: list[object]) -> pd.DataFrame:
    """Two layers of three neurons, each of which finds its own place."""
    place = np.arange(6)
    columns: dict[str, object] = {
        "layer": place // 3, "neuron": place % 3, "degenerate": [False] * 6, "sparsity": [0.5] * 6,
        "post_mean": [1.0, -1, 2, 0.1, 0, 3], "post_var": [1.0] * 6, "correlation": [1.0] * 6,
        "other_layer": place // 3, "other_neuron": place % 3, "mutual_best": [True] * 6,
    }  # fmt: skip
    return pd.DataFrame(columns | changes)


def counted(found: pd.DataFrame, other: pd.DataFrame, any_sign: list[int]) -> list[str]:
    return judged(found, other, np.arange(6), np.isin(np.arange(6), any_sign))["counted"].tolist()


def test_every_neuron_is_counted_as_what_it_is() -> None:
    constant, itself, turned, lost = KINDS
    assert counted(frame(), frame(), []) == [itself] * 6
    assert counted(frame(mutual_best=[False] + [True] * 5), frame(), []) == [lost] + [itself] * 5
    assert counted(frame(correlation=[0.99] + [1.0] * 5), frame(), []) == [lost] + [itself] * 5
    assert counted(frame(other_neuron=[1, 1, 2, 0, 1, 2]), frame(), []) == [lost] + [itself] * 5
    still = [True] + [False] * 5
    assert counted(frame(degenerate=still), frame(degenerate=still), []) == [constant] + [itself] * 5
    assert counted(frame(degenerate=still, mutual_best=[not x for x in still]), frame(), [])[0] == lost
    nowhere = {"correlation": [None] + [1.0] * 5, "other_layer": [None, 0, 0, 1, 1, 1]}
    assert counted(frame(**nowhere), frame(), [])[0] == lost
    opposite = frame(post_mean=[-1.0, -1, 2, 0.1, 0, 3])
    assert counted(frame(**nowhere), opposite, [])[0] == lost and counted(frame(**nowhere), opposite, [0])[0] == turned
    assert counted(frame(**nowhere), frame(), [0])[0] == lost, "the same mean is not the other sign's"
    assert failures([judged(frame(), frame(), np.arange(6), np.zeros(6, dtype=bool))], 6) == ""
    assert "instead of 7" in failures([judged(frame(), frame(), np.arange(6), np.zeros(6, dtype=bool))], 7)
    assert "0.99" in failures([judged(frame(correlation=[0.99] * 6), frame(), np.arange(6), np.zeros(6, dtype=bool))], 6)


@pytest.mark.parametrize("gated", [True, False])
def test_a_copy_computes_the_same_with_neurons_elsewhere(gated: bool, tmp_path: Path) -> None:
    folder = tiny_decoder("llama", tmp_path / "a") if gated else tiny_gpt2(tmp_path / "a")
    made = open_checkpoint(parse_model_argument(str(folder)), CPU)
    tokens = torch.randint(made.d_vocab, (2, 20), generator=torch.Generator().manual_seed(0))
    before = made.mlp_activations(tokens)
    assert not arbitrary(made).any() and arbitrary(made).shape == (48,)
    orders = permuted(made, tmp_path / "b", 1)
    assert not (np.diff(orders) == 1).all() and (np.sort(orders) == np.arange(24)).all()
    one, other = (load_raw(path)(tokens).logits for path in (folder, tmp_path / "b"))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    copy = open_checkpoint(parse_model_argument(str(tmp_path / "b")), CPU)
    for layer, (own, there) in enumerate(zip(before, copy.mlp_activations(tokens), strict=True)):
        for values, values_there in zip(own, there, strict=True):
            torch.testing.assert_close(values[..., orders[layer]], values_there, rtol=1e-4, atol=1e-4)
    assert copy.identity.sha256 != made.identity.sha256
