"""Replaced neurons against plain float64 forward passes, whichever neurons are asked for together and however rows are cut."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from catalog import parts
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.parts.partners import Partners
from ingest.parts.substitution import KINDS, chosen, stand_in
from ingest.roles.substitution import Line, Losses, Replaced, substitute
from ingest.statistics.jackknife import HALF, N_BLOCKS
from ingest.statistics.restoration import restoration
from ingest.statistics.universality import BestMatches
from tests.factories import load_raw, tiny_gpt2, tiny_neox, tiny_opt
from tests.substituted import Reference

BOS, PAD, NEWLINE = 0, 5, 7
SPECIAL, MASKED = (BOS, PAD), (BOS, PAD, NEWLINE)
CONTEXT, D_MLP = 12, 24
parts.thresholds()  # loads tables, which takes longer than hypothesis allows
FAMILIES = {"gpt2": (tiny_gpt2, {"n_layers": 3}), "neox": (tiny_neox, {}), "opt": (tiny_opt, {})}


@dataclass(frozen=True)
class Rows:
    """Some rows in memory."""

    tokens: np.ndarray
    block_ids: np.ndarray

    def kept_mask(self, rows: np.ndarray) -> np.ndarray:
        return ~np.isin(rows, MASKED)


def some_rows(d_vocab: int) -> Rows:
    """Two rows of each block, of ids of which some are in one half alone."""
    random = np.random.default_rng(0)
    tokens = random.integers(1, d_vocab // 4, (2 * N_BLOCKS, CONTEXT)).astype(np.int32)
    tokens[:, 0] = BOS
    tokens[1, 4], tokens[2, 5], tokens[40, 6], tokens[41, 7], tokens[42, 3] = BOS, PAD, NEWLINE, PAD, d_vocab - 1
    return Rows(tokens, random.permutation(np.arange(2 * N_BLOCKS) % N_BLOCKS).astype(np.int16))


class Pair:
    """Two seeds, as the catalog opens them and in float64."""

    def __init__(self, name: str, folder: Path) -> None:
        make, options = FAMILIES[name]
        paths = [make(folder / f"{name}{seed}", seed, d_mlp=D_MLP, **options) for seed in range(2)]
        self.models: dict[int, Checkpoint] = {
            number: open_checkpoint(parse_model_argument(str(path)), torch.device("cpu")) for number, path in enumerate(paths)
        }
        self.rows = some_rows(self.models[0].d_vocab)
        raw = {number: load_raw(path).double() for number, path in enumerate(paths)}
        self.reference = Reference(raw, self.rows.tokens, self.rows.block_ids, MASKED, SPECIAL)
        final = (self.models[0].n_layers - 1) * D_MLP
        self.replaced = [
            Replaced(3, ((1, 5), (1, final + 6), (1, 7))), Replaced(final + 2, ((1, 1),)), Replaced(final + 9, ()),
            Replaced(17, ((1, final + 3), (1, 5))),
        ]  # fmt: skip

    def substitute(self, replaced: list[Replaced], batch_tokens: int = 4096) -> tuple[list[Line], Losses]:
        tokens = self.rows.tokens.size
        return substitute(self.models, 0, replaced, self.rows, SPECIAL, tokens, batch_tokens, torch.device("cpu"))


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(request.param, tmp_path_factory.mktemp("pair"))


def place(model: int, neuron: int) -> tuple[int, int, int]:
    return model, *divmod(neuron, D_MLP)


def test_replacements_are_those_of_the_definition(pair: Pair) -> None:
    lines, losses = pair.substitute(pair.replaced, batch_tokens=7 * CONTEXT)
    reference = pair.reference
    counted = reference.of_blocks(reference.counted)
    assert losses.n.tolist() == counted.tolist() and (counted > 0).all()
    alone = reference.of_blocks(reference.losses(0, 0, 0, None))
    np.testing.assert_allclose(losses.alone, alone, rtol=1e-6)
    loss = alone.sum() / counted.sum()
    for one, line, changes, of_steeper in zip(pair.replaced, lines, losses.changes, losses.steeper, strict=True):
        neuron, others = place(0, one.neuron), [place(*other) for other in one.substitutes]
        of_tokens = reference.token_means(neuron)
        assert line.n == reference.kept.sum() and len(of_tokens) < len(line.of_tokens)
        for i, mean in enumerate(line.of_tokens):
            assert mean == pytest.approx(of_tokens.get(i, line.mean), abs=1e-5)
        for alpha, beta, beta_se, other in zip(line.alpha, line.beta, line.beta_se, others, strict=True):
            assert (alpha, beta) == pytest.approx(reference.line(neuron, other), abs=2e-5)
            assert beta_se == pytest.approx(reference.slope_error(neuron, other), abs=2e-5) and beta_se > 2e-4
        steeper = reference.changes(neuron, others)[2 + len(others) :]
        assert np.abs(of_steeper - steeper.sum(1)).max(initial=0) / counted.sum() <= 1e-6 * loss
        expected = reference.changes(neuron, others)[: 2 + len(others)]
        assert np.abs(changes - expected).sum(1).max() / counted.sum() <= 1e-6 * loss
        assert np.abs(expected).max() > 1e-4, "else nothing is compared"


def test_what_is_found_of_a_neuron_does_not_depend_on_the_others(pair: Pair) -> None:
    lines, losses = pair.substitute(pair.replaced)
    for one, line, changes, of_steeper in zip(pair.replaced, lines, losses.changes, losses.steeper, strict=True):
        (alone,), found = pair.substitute([one])
        assert found.changes[0].tobytes() == changes.tobytes()
        numbers = ("alpha", "beta", "beta_se", "of_tokens")
        assert all(np.array_equal(getattr(alone, name), getattr(line, name)) for name in numbers)
        assert np.array_equal(found.steeper[0], of_steeper)


def test_a_substitute_that_never_varies_is_the_mean(pair: Pair) -> None:
    one = Replaced(3, ((1, 4),))
    layer = pair.models[1].modules.activations[0]
    handle = layer.register_forward_hook(lambda module, inputs, output: torch.full_like(output, 0.3))
    (line,), losses = pair.substitute([one])
    handle.remove()
    assert line.beta.tolist() == [0] and line.alpha.tolist() == [line.mean]
    assert np.array_equal(losses.changes[0][2], losses.changes[0][0])


def test_a_half_without_tokens_says_nothing(pair: Pair) -> None:
    for blocks in (0, HALF):
        rows = Rows(pair.rows.tokens, np.full(len(pair.rows.tokens), blocks, dtype=np.int16))
        lines, losses = substitute(pair.models, 0, pair.replaced, rows, SPECIAL, 99, 50, torch.device("cpu"))
        assert not lines or not losses.n.any()


@given(
    n=st.lists(st.integers(0, 50), min_size=16, max_size=16).filter(lambda n: sum(n) > 0),
    seed=st.integers(0, 2**32 - 1),
    cost=st.floats(-0.1, 2.0),
    fit=st.just(float("nan")) | st.floats(0, 0.5),
)
def test_what_is_restored_is_a_ratio_of_sums_with_a_jackknife(n: list[int], seed: int, cost: float, fit: float) -> None:
    counts, random = np.array(n), np.random.default_rng(seed)
    changes = random.normal([[cost], [cost / 3]], 0.3, (2, 16)) * counts
    found = restoration(counts, changes, np.array([0.0, fit]))
    filled = counts > 0
    assert found.change == pytest.approx(changes.sum(1) / counts.sum())
    if filled.sum() < 10:
        assert np.isnan([found.change_se, found.restored, found.restored_se]).all()
        return
    left_out = [np.arange(16) != block for block in np.flatnonzero(filled)]
    g = len(left_out)
    means = np.array([changes[:, rest].sum(1) / counts[rest].sum() for rest in left_out])
    of_blocks = np.sqrt((g - 1) / g * ((means - means.mean(0)) ** 2).sum(0))
    assert found.change_se == pytest.approx([of_blocks[0], np.sqrt(of_blocks[1] ** 2 + fit**2)], nan_ok=True)
    if found.change[0] <= 1.96 * found.change_se[0]:
        assert np.isnan([found.restored, found.restored_se]).all()
        return
    ratios = np.array([1 - changes[:, rest].sum(1) / changes[0, rest].sum() for rest in left_out])
    assert found.restored == pytest.approx(1 - changes.sum(1) / changes[0].sum()) and found.restored[0] == 0
    of_blocks = np.sqrt((g - 1) / g * ((ratios - ratios.mean(0)) ** 2).sum(0))
    expected = [of_blocks[0], np.sqrt(of_blocks[1] ** 2 + (fit / found.change[0]) ** 2)]
    assert found.restored_se == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)


@given(excess=st.lists(st.one_of(st.floats(-1, 1), st.just(float("nan"))), max_size=60), most=st.none() | st.integers(2, 20))
def test_universal_neurons_and_as_many_others_are_chosen(excess: list[float], most: int | None) -> None:
    values = np.array(excess)
    found = chosen(values, most, np.random.default_rng(1))
    universal, others = (values[found] > 0.5).sum(), (values[found] <= 0.5).sum()
    there = (values > 0.5).sum(), (values <= 0.5).sum()
    assert len(found) == universal + others == len(set(found.tolist())) and (np.diff(found) > 0).all()
    assert others == min(there[1], universal, len(values) if most is None else most - universal)
    assert universal == (there[0] if most is None else min(there[0], -(-most // 2)))
    if most is not None:
        assert set(found.tolist()) <= set(chosen(values, most + 2, np.random.default_rng(1)).tolist())


def test_stand_ins_are_the_two_best_and_one_of_the_layer_of_the_best() -> None:
    other, second = np.array([5, -1, 9, 0]), np.array([2, -1, -1, 1])
    nothing = np.full(4, np.nan)
    partners = Partners(BestMatches(nothing, other, nothing, nothing, nothing, np.full(4, -1), *np.empty((2, 4, 0))), second)
    found = stand_in(np.array([0, 1, 2, 3]), partners, 4, [0, 1])
    assert found.shape == (4, len(KINDS)) and found[1].tolist() == [-1, -1, -1]
    assert found[:, 0].tolist() == other.tolist() and found[:, 1].tolist() == second.tolist()
    assert found[0, 2] in (4, 6, 7) and found[2, 2] in (8, 10, 11) and found[3, 2] in (2, 3)
    assert np.array_equal(stand_in(np.array([2]), partners, 4, [0, 1]), found[2:3])
    assert stand_in(np.array([3]), partners, 1, [0, 1])[0, 2] == -1, "a layer of one neuron has no other"
