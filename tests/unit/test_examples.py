"""Examples: any split, order and merge equals the definition on all data at once, on a CPU and as a GPU does it."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checkpoints.modules import MlpPass
from ingest.corpus.batches import Pivots
from ingest.jobs.sums import JobSums
from ingest.parts.examples import describe_examples, example_columns
from ingest.parts.shapes import CorpusShape, ModelShape, Size
from ingest.plan.items import LayerItem, Plan
from ingest.statistics import examples as module
from ingest.statistics.examples import BANDS, NOWHERE, SAMPLES, TOP, ExampleAccumulator
from ingest.statistics.hashing import STEP, context_hashes, mixed, place_hashes
from ingest.statistics.layers import TokenBatch
from ingest.statistics.tiles import LayerSpan

CPU = torch.device("cpu")
BOS, NEWLINE = 0, 1


def batch_of(tokens: torch.Tensor, rows: slice) -> TokenBatch:
    """Rows of a corpus; BOS and newlines are not kept."""
    own = tokens[rows]
    kept = ((own != BOS) & (own != NEWLINE)).flatten().nonzero().squeeze(1)
    nothing = torch.empty(0, dtype=torch.int64)
    return TokenBatch(rows.start, len(own), 0, own, kept, nothing, nothing, nothing, torch.zeros(len(own), dtype=torch.int64))


def corpus(n_rows: int, context: int, n_tokens: int, seed: int) -> torch.Tensor:
    tokens = torch.randint(1, n_tokens + 1, (n_rows, context), generator=torch.Generator().manual_seed(seed))
    tokens[:, 0] = BOS
    return tokens


def accumulate(
    tokens: torch.Tensor, post: torch.Tensor, parts: list[slice], seed: int = 3, gated: bool = False
) -> ExampleAccumulator:
    made = ExampleAccumulator(tokens.shape[1], post.shape[-1], seed, CPU, gated)
    for part in parts:
        batch, flat = batch_of(tokens, part), post[part].flatten(0, 1)
        for neurons in (slice(0, 2), slice(2, post.shape[-1])):
            own = flat[:, neurons].contiguous()
            made.observe(batch, own, own, neurons)
        made.update(batch, flat, flat)
    return made


def on_a_gpu(tokens: torch.Tensor, post: torch.Tensor, parts: list[slice], seed: int = 3) -> ExampleAccumulator:
    """The operations of a GPU, here, of gated neurons."""
    made = ExampleAccumulator(tokens.shape[1], post.shape[-1], seed, CPU, gated=True)
    for part in parts:
        batch = batch_of(tokens, part)
        if len(batch.kept) == 0:
            continue
        kept = post[part].flatten(0, 1)[batch.kept]
        best, lowest = (module.best_of_batch(values, batch.places, batch.contexts) for values in (kept, -kept))
        samples = module.samples_of_batch(kept, batch.places, place_hashes(batch.places, seed))
        made.merge({name: x.numpy() for name, x in zip(made.state(), [*best, *lowest, *samples], strict=True)})
    return made


def top_by_definition(tokens: np.ndarray, values: np.ndarray) -> list[tuple[float, int]]:
    """All kept places by falling value and rising place, repeated contexts left out, the first 50."""
    context = tokens.shape[1]
    kept = [p for p, token in enumerate(tokens.ravel()) if token not in (BOS, NEWLINE)]
    seen, found = set(), []
    for place in sorted(kept, key=lambda p: (-values[p], p)):
        row, position = divmod(place, context)
        key = tuple(tokens[row, max(0, position - 10) : position + 1].tolist())
        if key not in seen:
            seen.add(key)
            found.append((float(values[place]), place))
    return found[:TOP]


def band_of_each(tokens: np.ndarray, values: np.ndarray) -> dict[int, int]:
    """The band of every kept place with a positive value, from the bins' definition: halves of powers of two."""
    kept = [p for p, token in enumerate(tokens.ravel()) if token not in (BOS, NEWLINE) and values[p] > 0]
    bins = {}
    for place in kept:
        exponent = int(np.floor(np.log2(float(values[place]))))
        upper = float(values[place]) >= 1.5 * 2.0**exponent
        bins[place] = min(max(2 * exponent + upper, -32), 31)
    bands = {}
    for place in kept:
        below = sum(b < bins[place] for b in bins.values())
        own = sum(b == bins[place] for b in bins.values())
        middle = (below + own / 2) / len(kept)
        bands[place] = next(number for number, end in enumerate(BANDS) if middle < end)
    return bands


def activations(n_rows: int, context: int, seed: int) -> torch.Tensor:
    """Dense, sparse, never positive, hardly ever, always zero, of many sizes; with ties."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_rows, context, 6, generator=generator).round(decimals=1)
    x[..., 1] = x[..., 1].relu() - 0.0
    x[..., 2] = -x[..., 2].abs()
    x[..., 3] = torch.where(x[..., 3] > 2.2, x[..., 3], 0.0)
    x[..., 4] = 0
    x[..., 5] = torch.exp(8 * x[..., 5])
    return x


@settings(max_examples=40, deadline=None)
@given(
    n_rows=st.integers(1, 30),
    context=st.integers(2, 16),
    n_tokens=st.integers(2, 5),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_any_split_order_and_merge_equals_the_definition(
    n_rows: int, context: int, n_tokens: int, cuts: list[int], seed: int, data: st.DataObject
) -> None:
    tokens, post = corpus(n_rows, context, n_tokens, seed), activations(n_rows, context, seed)
    edges = [0, *sorted(min(cut, n_rows) for cut in cuts), n_rows]
    parts = data.draw(st.permutations([slice(a, b) for a, b in pairwise(edges)]))
    cut = data.draw(st.integers(0, len(parts)))
    halves = [accumulate(tokens, post, list(part), gated=True) for part in (parts[:cut], parts[cut:])]
    halves[0].merge({name: x.numpy().copy() for name, x in halves[1].state().items()})
    at_once, elsewhere = accumulate(tokens, post, [slice(0, n_rows)], gated=True), on_a_gpu(tokens, post, list(parts))
    flat = post.flatten(0, 1).numpy()
    hashes = dict(enumerate(place_hashes(torch.arange(n_rows * context), 3).tolist()))
    for found in (made.compute() for made in (halves[0], at_once, elsewhere)):
        for neuron in range(flat.shape[1]):
            expected = top_by_definition(tokens.numpy(), flat[:, neuron])
            real = found.top_places[neuron] != NOWHERE
            assert list(zip(found.top_values[neuron][real], found.top_places[neuron][real], strict=True)) == expected
            assert np.isneginf(found.top_values[neuron][~real]).all()
            expected = [(-value, place) for value, place in top_by_definition(tokens.numpy(), -flat[:, neuron])]
            lowest = zip(found.lowest_values[neuron], found.lowest_places[neuron], strict=True)
            assert [pair for pair in lowest if pair[1] != NOWHERE] == expected
            bands = band_of_each(tokens.numpy(), flat[:, neuron])
            for number in range(len(BANDS)):
                own = sorted((place for place, band in bands.items() if band == number), key=hashes.__getitem__)
                own = sorted(own[:SAMPLES], key=lambda p: (-flat[p, neuron], p))
                places = found.places[neuron, number]
                assert places[places != NOWHERE].tolist() == own
                assert found.values[neuron, number, : len(own)].tolist() == [flat[p, neuron] for p in own]


def test_contexts_are_eleven_tokens_and_end_at_the_row() -> None:
    tokens = torch.randint(1, 4, (3, 40), generator=torch.Generator().manual_seed(0))
    tokens[1, 5:16], tokens[2, 20:31] = tokens[0, 25:36].clone(), tokens[0, 25:36].clone()
    tokens[2, 0:4] = tokens[0, 0:4]
    tokens[1, 4], tokens[0, 24], tokens[2, 19] = 1, 2, 3
    hashes = context_hashes(tokens)
    assert hashes[1, 15] == hashes[0, 35] == hashes[2, 30]
    assert len({int(hashes[1, 14]), int(hashes[0, 34]), int(hashes[2, 29])}) == 3
    assert torch.equal(hashes[2, :4], hashes[0, :4])
    same = torch.full((1, 30), 2)
    assert len(set(context_hashes(same)[0].tolist())) == 11  # shorter ones differ from one another


def test_hashes_of_places_depend_on_the_seed_and_never_collide() -> None:
    places = torch.arange(100_000)
    one, other = place_hashes(places, 0), place_hashes(places, 1)
    assert len(one.unique()) == len(other.unique()) == len(places)
    assert not torch.equal(one, other)
    # the first output of the reference implementation for the seed 1234567 (Vigna, splitmix64.c)
    assert int(mixed(torch.tensor([1234567 + STEP]))) % 2**64 == 6457827717110365317
    ranks = one.argsort().double()
    assert abs(float(torch.corrcoef(torch.stack([ranks, places.double()]))[0, 1])) < 0.02


def test_nothing_is_made_up_for_a_neuron_with_few_contexts() -> None:
    """The same two contexts over and over: two rows, and no sample where nothing is positive."""
    tokens = torch.tensor([[BOS, 2, 3]]).repeat(60, 1)
    post = torch.full((60, 3, 3), -0.1)
    post[:, 1, 1] = torch.arange(60).float()
    made = accumulate(tokens, post, [slice(30, 60), slice(0, 30)])
    arrays = describe_examples(made.compute(), tokens.numpy())
    rows = dict(example_columns(arrays, np.array([7, 8, 9], dtype=np.int32)))["examples"]
    top = rows["kind"] == 0
    found = np.stack([rows[name][top] for name in ("neuron_id", "row", "position")], axis=1)
    assert list(map(tuple, found.tolist())) == [(7, 0, 1), (7, 0, 2), (8, 59, 1), (8, 0, 2), (9, 0, 1), (9, 0, 2)]
    assert rows["value"][top].tolist() == [np.float32(-0.1)] * 2 + [59.0, np.float32(-0.1)] + [np.float32(-0.1)] * 2
    assert set(rows["neuron_id"][~top].tolist()) == {8} and (rows["value"][~top] > 0).all()
    assert rows["token_id"].tolist() == tokens.numpy()[rows["row"], rows["position"]].tolist()
    assert np.isnan(rows["quantile"][top]).all() and not np.isnan(rows["quantile"][~top]).any()


def test_bands_hold_samples_of_their_quantiles() -> None:
    """Of a neuron with many values, a sample is about as strong as its band says: within a bin."""
    tokens = torch.arange(2, 2 + 200 * 40).reshape(200, 40)
    post = torch.rand(200, 40, 3, generator=torch.Generator().manual_seed(1)) + 1e-3
    found = accumulate(tokens, post, [slice(0, 200)]).compute()
    flat = post.flatten(0, 1).numpy()
    for neuron in range(3):
        order = np.sort(flat[:, neuron])
        for number, (low, high) in enumerate(pairwise((0, *BANDS))):
            real = found.places[neuron, number] != NOWHERE
            assert ((found.quantiles[neuron, number][real] >= low) & (found.quantiles[neuron, number][real] < high)).all()
            at = np.searchsorted(order, found.values[neuron, number][real]) / len(order)
            np.testing.assert_allclose(at, found.quantiles[neuron, number][real], atol=0.13)


@pytest.mark.parametrize("gated", [False, True])
def test_bytes_are_those_of_the_state(gated: bool) -> None:
    made = ExampleAccumulator(8, 5, 0, CPU, gated)
    assert sum(x.numel() * x.element_size() for x in made.state().values()) == ExampleAccumulator.bytes_needed(5, gated)


def test_the_lowest_are_rows_of_gated_neurons_alone() -> None:
    tokens = torch.arange(2, 2 + 8 * 20).reshape(8, 20)
    post = torch.randn(8, 20, 3, generator=torch.Generator().manual_seed(2))
    for gated in (False, True):
        arrays = describe_examples(accumulate(tokens, post, [slice(0, 8)], gated=gated).compute(), tokens.numpy())
        rows = dict(example_columns(arrays, np.array([7, 8, 9], dtype=np.int32)))["examples"]
        lowest = {name: values[rows["kind"] == -1] for name, values in rows.items()}
        assert len(lowest["rank"]) == (3 * TOP if gated else 0)
        if gated:
            own = lowest["neuron_id"] == 8
            assert lowest["rank"][own].tolist() == list(range(1, TOP + 1)) and np.isnan(lowest["quantile"]).all()
            assert lowest["value"][own].tolist() == sorted(post[..., 1].flatten().tolist())[:TOP]
            assert lowest["token_id"].tolist() == tokens.numpy()[lowest["row"], lowest["position"]].tolist()


def test_a_job_gets_the_states_of_others_whole() -> None:
    """As files give them: array after array, of two kinds and two ranges of rows."""
    tokens, post = corpus(12, 9, 4, 0), activations(12, 9, 0)
    items = tuple(LayerItem(measure, 0, LayerSpan(0, 0, 6), Size(0, 1, 1)) for measure in ("examples", "positions"))
    plan = Plan((), (ModelShape(1, 8, 6, 10),), CorpusShape(12, 9))
    pivots = {0: Pivots(torch.zeros(6), torch.zeros(6))}
    *parts, whole = [JobSums(items, plan, pivots, CPU, "fp32", 3) for _ in range(3)]
    for sums, rows in zip(parts, (slice(0, 5), slice(5, 12)), strict=True):
        batch, flat = batch_of(tokens, rows), post[rows].flatten(0, 1)
        sums.observe(batch, 0, 0, MlpPass(flat, flat, None))
        sums.update(batch, {0: flat[batch.kept]}, {0: flat[batch.kept]})
    whole.add((name, values.numpy().copy()) for sums in reversed(parts) for name, values in sums.state().items())
    found = whole.layers[items[0]]
    assert isinstance(found, ExampleAccumulator)
    expected = accumulate(tokens, post, [slice(0, 12)]).compute()
    for one, other in zip(vars(found.compute()).values(), vars(expected).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(whole.layers[items[1]].state()["rows"].sum()) == 12
