"""Annotations of shapes and dtypes are not prose: whoever breaks one while tests run is told."""

import random

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from ingest.features.unigrams import unigram_features
from ingest.statistics.correlation import NeuronSums
from ingest.statistics.moments import central_moments


@pytest.mark.parametrize(
    "power_sums",
    [torch.ones(3, 5, dtype=torch.float64), torch.ones(4, 5), torch.ones(4, 5, 1, dtype=torch.float64)],
    ids=["three powers", "fp32", "a dimension too many"],
)
def test_what_breaks_an_annotation_is_refused(power_sums: torch.Tensor) -> None:
    assert central_moments(2, torch.ones(4, 5, dtype=torch.float64), torch.zeros(5)).mean.shape == (5,)
    with pytest.raises(TypeCheckError, match="central_moments"):
        central_moments(2, power_sums, torch.zeros(5))


def test_fields_of_a_class_agree_with_each_other() -> None:
    neurons = torch.ones(5, dtype=torch.float64)
    assert NeuronSums(2, neurons, neurons).centred.shape == (5,)
    with pytest.raises(TypeCheckError, match="NeuronSums"):
        NeuronSums(2, neurons, neurons[:4])


def test_what_a_list_holds_is_looked_at_without_chance() -> None:
    before = random.getstate()
    counts = np.array([100, 100])
    assert unigram_features(["a", "A"], counts, 200, []).names == ["a_unigram"]
    for _ in range(20):
        with pytest.raises(TypeCheckError, match="unigram_features"):
            unigram_features([0, "A"], counts, 200, [])  # type: ignore[list-item]
    assert random.getstate() == before
