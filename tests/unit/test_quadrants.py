"""Gated neurons by quadrant: any split and merge order equals the definition in float64, and what is fed is the model's own."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.checkpoints.modules import MlpPass, Modules
from ingest.checkpoints.signs import signs_of
from ingest.corpus.batches import Pivots, kept_activations
from ingest.jobs.sums import JobSums
from ingest.parts import LAYER_MEASURES
from ingest.parts.gates import describe_quadrants
from ingest.parts.shapes import CorpusShape, ModelShape, Size
from ingest.plan.cut import Work, make_plan
from ingest.plan.items import LayerItem, Plan
from ingest.statistics import quadrant_loops, quadrants
from ingest.statistics.jackknife import LEAST_BLOCKS, N_BLOCKS
from ingest.statistics.layers import TokenBatch
from ingest.statistics.quadrants import QUADRANTS, QuadrantAccumulator
from ingest.statistics.tiles import LayerSpan
from tests import references
from tests.decoders import tiny_decoder
from tests.factories import load_raw

CPU = torch.device("cpu")
N_ROWS, CONTEXT, N = 50, 9, 6
STATISTICS = ("frequency", "post_mean", "share")
ACTIVATIONS = {"silu": torch.nn.functional.silu, "gelu": torch.nn.functional.gelu, "relu": torch.relu}


class Data:
    """Gates and inputs of every sign; a neuron whose gate is always shut, one that reads zeros, and one that is far out."""

    def __init__(self, seed: int, n_blocks: int = N_BLOCKS, activation: str = "silu") -> None:
        generator = torch.Generator().manual_seed(seed)
        self.pre, self.read = torch.randn(2, N_ROWS, CONTEXT, N, generator=generator)
        self.pre[..., 1] = -self.pre[..., 1].abs() - 1
        self.read[..., 2] = 0
        self.pre[..., 3] *= 300  # where the activation rounds to zero
        self.pre[::2, :, 4], self.read[::3, :, 4] = 0, 0
        self.post = ACTIVATIONS[activation](self.pre) * self.read
        self.kept = torch.rand(N_ROWS, CONTEXT, generator=generator) > 0.2
        self.kept[:, 0] = False
        self.blocks = torch.randint(0, n_blocks, (N_ROWS,), generator=generator)

    def feed(self, sums: QuadrantAccumulator, first: int, last: int) -> None:
        """Some rows, in two pieces of neurons."""
        rows, nothing = slice(first, last), torch.empty(0, dtype=torch.int64)
        kept = self.kept[rows].flatten().nonzero().squeeze(1)
        tokens = torch.zeros(last - first, CONTEXT, dtype=torch.int64)
        batch = TokenBatch(first, last - first, 0, tokens, kept, nothing, nothing, tokens[:, 0], self.blocks[rows])
        for neurons in (slice(0, 2), slice(2, N)):
            pre, read, post = (x[rows, :, neurons].flatten(0, 1) for x in (self.pre, self.read, self.post))
            sums.observe(batch, pre, post, neurons, read)
        sums.update(batch, torch.empty(0), torch.empty(0))

    def expected(self) -> dict[str, np.ndarray]:
        """By the definitions, on everything at once, in float64."""
        blocks = self.blocks[:, None].expand(N_ROWS, CONTEXT)[self.kept].numpy()
        g, u, post = (x[self.kept].double().numpy() for x in (self.pre, self.read, self.post))
        sides = {
            "open_positive": (g > 0) & (u > 0), "open_negative": (g > 0) & ~(u > 0),
            "shut_positive": ~(g > 0) & (u > 0), "shut_negative": ~(g > 0) & ~(u > 0),
        }  # fmt: skip

        def of(tokens: np.ndarray) -> np.ndarray:
            found = []
            for inside in (side[tokens] for side in sides.values()):
                own, sizes = post[tokens] * inside, np.abs(post[tokens])
                found.append([inside.mean(0), own.sum(0) / inside.sum(0), (sizes * inside).sum(0) / sizes.sum(0)])
            return np.array(found)

        with np.errstate(invalid="ignore"):
            whole = of(np.ones(len(post), dtype=bool))
            errors = references.jackknife(blocks, of)
        columns = {}
        for i, quadrant in enumerate(sides):
            for j, name in enumerate(STATISTICS):
                columns[f"{name}_{quadrant}"], columns[f"{name}_{quadrant}_se"] = whole[i, j], errors[i, j]
            never = (whole[i, 0] == 0) | (whole[i, 0] == 1)
            columns[f"frequency_{quadrant}_se"] = np.where(never, np.nan, errors[i, 0])
        return columns


def sums() -> QuadrantAccumulator:
    return QuadrantAccumulator(N, CPU)


def check(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys() and len(found) == 2 * len(STATISTICS) * len(QUADRANTS)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, N_ROWS), max_size=4),
    order=st.randoms(use_true_random=False),
    n_blocks=st.integers(1, N_BLOCKS),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
)
def test_any_split_and_merge_order_equals_the_definition(
    seed: int, cuts: list[int], order: Any, n_blocks: int, activation: str
) -> None:
    data = Data(seed, n_blocks, activation)
    one, merged, parts = sums(), sums(), []
    for first, last in pairwise([0, *sorted(cuts), N_ROWS]):
        data.feed(one, first, last)
        parts.append(sums())
        data.feed(parts[-1], first, last)
    order.shuffle(parts)
    for part in parts:
        merged.merge({name: values.numpy() for name, values in part.state().items()})
    expected = data.expected()
    for made in (one, merged):
        check(describe_quadrants(made), expected)
    assert np.isnan(expected["frequency_open_positive_se"]).all() == (len(data.blocks.unique()) < LEAST_BLOCKS)


def test_a_gpu_adds_what_the_loop_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Data(3)
    found = [sums(), sums()]
    data.feed(found[0], 0, N_ROWS)
    monkeypatch.setattr(quadrant_loops, "add_quadrants", quadrants.add_quadrants)
    data.feed(found[1], 0, N_ROWS)
    for one, other in zip(found[0].state().values(), found[1].state().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_quadrants_are_everything_and_a_neuron_that_writes_nothing_has_no_shares() -> None:
    data, made = Data(1), sums()
    data.feed(made, 0, N_ROWS)
    found = made.statistics()
    np.testing.assert_allclose(found["frequency"].sum(0), 1)
    np.testing.assert_allclose(found["share"].sum(0), np.where(np.arange(N) == 2, np.nan, 1))
    assert np.isnan(found["post_mean"][:2, 1]).all(), "its gate is never open"
    with np.errstate(invalid="ignore"):
        assert all(np.isnan(values).all() for values in sums().statistics().values())


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_what_a_model_shows_is_what_hooks_on_the_raw_model_see(architecture: str, tmp_path: Path) -> None:
    """The raw model in float64, with the sign of inputs that the rule chooses; all quadrants of both layers are filled."""
    folder = tiny_decoder(architecture, tmp_path / architecture)
    checkpoint, raw = open_checkpoint(parse_model_argument(str(folder)), CPU), load_raw(folder)
    tokens = torch.randint(checkpoint.d_vocab, (N_ROWS, CONTEXT), generator=torch.Generator().manual_seed(1))
    nothing, rows = torch.empty(0, dtype=torch.int64), torch.arange(N_ROWS)
    batch = TokenBatch(
        0, N_ROWS, 0, tokens, torch.arange(tokens.numel()), nothing, nothing, rows % 1, rows % N_BLOCKS
    )  # fmt: skip
    shape = ModelShape(2, checkpoint.d_model, checkpoint.d_mlp, checkpoint.d_vocab, checkpoint.is_gated)
    items = [LayerItem("gates", 0, LayerSpan(layer, layer, shape.d_mlp), Size(0, 1, 1)) for layer in range(2)]
    pivots = Pivots(torch.zeros(shape.n_neurons), torch.zeros(shape.n_neurons))
    job = JobSums(tuple(items), Plan((), (shape,), CorpusShape(N_ROWS, CONTEXT)), {0: pivots}, CPU, "fp32")

    def observe(layer: int, shown: MlpPass) -> None:
        job.observe(batch, 0, layer, shown)

    pre, post = kept_activations(checkpoint, batch, observe)
    job.update(batch, {0: pre}, {0: post})
    signs = [signs_of(Modules(raw, architecture), layer).double() for layer in range(2)]
    for layer, (gate, read, written) in enumerate(hooked(raw.double(), tokens)):
        found = job.layers[items[layer]]
        assert isinstance(found, QuadrantAccumulator)
        counts, of_post, sizes = (values.sum(0) for values in (found.counts_, found.sums_, found.sizes_))
        read, written = read * signs[layer], written * signs[layer]
        sides = [a & b for a in (gate > 0, gate <= 0) for b in (read > 0, read <= 0)]
        assert torch.equal(counts, torch.stack([side.sum(0) for side in sides])) and (counts.sum(1) > 0).all()
        torch.testing.assert_close(of_post, torch.stack([(written * side).sum(0) for side in sides]), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(sizes, torch.stack([(written.abs() * side).sum(0) for side in sides]), rtol=1e-4, atol=1e-4)


def hooked(raw: Any, tokens: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Of every layer, what gate and input give and what the output reads, (tokens, d_mlp) each."""
    seen: dict[str, list[torch.Tensor]] = {"gate_proj": [], "up_proj": [], "down_proj": []}
    for name, module in raw.named_modules():
        kind = name.rpartition(".")[2]
        if kind == "down_proj":
            module.register_forward_pre_hook(lambda module, inputs: seen["down_proj"].append(inputs[0].flatten(0, 1)))
        elif kind in seen:
            module.register_forward_hook(lambda module, inputs, output, kind=kind: seen[kind].append(output.flatten(0, 1)))
    with torch.inference_mode():
        raw(tokens, use_cache=False)
    return list(zip(*seen.values(), strict=True))


def test_models_without_gates_have_nothing_summed() -> None:
    shapes = [ModelShape(2, 8, 6, 20), ModelShape(3, 8, 5, 20, gated=True)]
    plan = make_plan(Work((), {"gates": (0, 1), "activations": (0, 1)}), shapes, CorpusShape(12, 9), 10**8)
    held = [item for job in plan.jobs for item in job.items if isinstance(item, LayerItem)]
    assert {item.model for item in held if item.measure == "gates"} == {1}
    assert {item.model for item in held if item.measure == "activations"} == {0, 1}
    alone = make_plan(Work((), {"gates": (0, 1)}), shapes, CorpusShape(12, 9), 10**8)
    assert {model for job in alone.jobs for model in job.models} == {1}, "nobody reads the corpus for nothing"
    gates = LAYER_MEASURES["gates"]
    assert [gates.sums_of(shape) for shape in shapes] == [False, True]
    with pytest.raises(ValueError, match="neurons without gates"):
        sums().observe(None, torch.zeros(1, N), torch.zeros(1, N), slice(0, N))  # type: ignore[arg-type]


def test_bytes_are_those_of_the_sums() -> None:
    held = sum(x.numel() * x.element_size() for name, x in sums().state().items() if name != "n")
    assert held == QuadrantAccumulator.bytes_needed(N)
