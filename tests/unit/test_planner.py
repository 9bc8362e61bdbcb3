"""A plan covers all of the work exactly once, fits the budget, and its jobs wait for what they read."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import InputError
from ingest.parts import LAYER_MEASURES
from ingest.parts.shapes import CorpusShape, ModelShape
from ingest.plan.cut import FINISHED, OF_ONE_MODEL, Work, cost, make_plan
from ingest.plan.documents import as_json, from_json
from ingest.plan.items import Job, LayerItem, MomentItem, OwnItem, Plan, TileItem, bytes_of, own_key
from ingest.statistics.ngrams import INDEX_BYTES

N_ROWS, CONTEXT = 40, 16
CORPUS = CorpusShape(N_ROWS, CONTEXT, n_subsets=3)
LARGE = 10**9


@st.composite
def cases(draw: st.DrawFn) -> tuple[Work, list[ModelShape]]:
    n = draw(st.integers(2, 4))
    ranges = ((1, 5), (4, 16), (2, 9), (5, 30))
    shapes = [ModelShape(*(draw(st.integers(*ends)) for ends in ranges), gated=draw(st.booleans())) for _ in range(n)]
    pairs = draw(st.sets(st.sampled_from(list(combinations(range(n), 2)))))
    models = st.sets(st.sampled_from(range(n)))
    return Work(tuple(sorted(pairs)), {part: tuple(sorted(draw(models))) for part in OF_ONE_MODEL}), shapes


def least(work: Work, shapes: list[ModelShape]) -> int:
    """The budget of which the refusal speaks, in bytes."""
    plan = make_plan(work, shapes, CORPUS, LARGE)
    layers = [item for job in plan.jobs for item in job.items if not isinstance(item, TileItem)]
    tiles = [12 * shapes[a].d_mlp * shapes[b].d_mlp for a, b in work.pairs]
    return max([*(bytes_of([item], shapes) for item in layers), *tiles])


def accumulating(plan: Plan) -> list[Job]:
    return [job for job in plan.jobs if job.kind == "accumulate"]


def cells(plan: Plan) -> dict[tuple[object, ...], list[tuple[int, int]]]:
    """For everything that is to be summed, down to single layers: the ranges of rows in which it is."""
    found: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for job in accumulating(plan):
        for item in job.items:
            if isinstance(item, TileItem):
                keys = [("tile", item.a, item.b, row, column) for row in item.rows.layers for column in item.columns.layers]
            elif isinstance(item, LayerItem):
                keys = [(item.measure, item.model, layer) for layer in item.layers.layers]
            else:
                keys = [(item.key,)]
            for key in keys:
                found.setdefault(key, []).append((job.first_row, job.end_row))
    return found


def wanted(work: Work, shapes: list[ModelShape]) -> set[tuple[object, ...]]:
    layers = {model: range(shapes[model].n_layers) for model in range(len(shapes))}
    paired = {model for pair in work.pairs for model in pair}
    keys: set[tuple[object, ...]] = {(MomentItem(model).key,) for model in work.defined(shapes).models}
    keys |= {(own_key(model, layer),) for model in paired for layer in layers[model]}
    for name, measure in LAYER_MEASURES.items():
        models = [model for model in work.by_part[measure.part] if shapes[model].gated or name != "gates"]
        keys |= {(name, model, layer) for model in models for layer in layers[model]}
    return keys | {("tile", a, b, row, column) for a, b in work.pairs for row in layers[a] for column in layers[b]}


@settings(max_examples=100, deadline=None)
@given(cases(), st.floats(1, 6), st.integers(1, 9))
def test_a_plan_covers_everything_once_and_fits(case: tuple[Work, list[ModelShape]], room: float, at_least: int) -> None:
    work, shapes = case
    if not work.defined(shapes).models:
        assert make_plan(work, shapes, CORPUS, LARGE, at_least).jobs == ()
        return
    budget = int(least(work, shapes) * room)
    plan = make_plan(work, shapes, CORPUS, budget, at_least)
    found = cells(plan)
    assert set(found) == wanted(work, shapes)
    for ranges in found.values():
        assert sorted(ranges)[0][0] == 0 and sorted(ranges)[-1][1] == N_ROWS
        assert all(one[1] == other[0] for one, other in zip(sorted(ranges), sorted(ranges)[1:], strict=False))
    assert all(plan.bytes_needed(job) <= budget for job in accumulating(plan))
    assert [job.number for job in plan.jobs] == list(range(len(plan.jobs)))
    assert from_json(as_json(plan)) == plan
    assert cost(plan) > 0


@settings(max_examples=100, deadline=None)
@given(cases(), st.floats(1, 6), st.integers(1, 9))
def test_whatever_a_job_reads_is_there_before_it(case: tuple[Work, list[ModelShape]], room: float, at_least: int) -> None:
    work, shapes = case
    if not work.models:
        return
    plan = make_plan(work, shapes, CORPUS, int(least(work, shapes) * room), at_least)
    for job in plan.jobs:
        assert all(number < job.number for number in job.after)
        if job.kind == "pivots" or not plan.whole(job):
            continue
        before = {item.key for number in job.after for item in plan.jobs[number].items} | {item.key for item in job.items}
        for item in job.items:
            if isinstance(item, TileItem):
                assert item.own_keys <= before
            if isinstance(item, TileItem) or (isinstance(item, LayerItem) and item.measure == "vocabulary"):
                assert {MomentItem(model).key for model in item.models} <= before
    whole = [job for job in plan.jobs if plan.whole(job) and job.kind != "pivots"]
    finished = [item.key for job in whole for item in job.items if isinstance(item, FINISHED)]
    assert len(finished) == len(set(finished))
    assert set(finished) == {i.key for job in accumulating(plan) for i in job.items if isinstance(i, FINISHED)}


def test_sums_that_others_read_are_left_in_files_and_no_others() -> None:
    work = Work(((0, 1),), {"activations": (0, 1), "vocabulary": (0,)})
    shapes = [ModelShape(3, 8, 6, 20), ModelShape(2, 8, 6, 20)]
    alone = make_plan(work, shapes, CORPUS, LARGE)
    assert [alone.file_bytes(job) for job in alone.jobs] == [0, 0]
    for job in accumulating(split := make_plan(work, shapes, CORPUS, LARGE, at_least=4)):
        holds = any(isinstance(item, OwnItem) for item in job.items) or not split.whole(job)
        assert (split.file_bytes(job) > 0) == holds


@pytest.mark.parametrize("at_least", [2, 3, 8])
def test_as_many_jobs_as_are_wanted(at_least: int) -> None:
    work = Work(((0, 1),), {"activations": (0, 1), "vocabulary": (0, 1)})
    small = [ModelShape(2, 16, 8, 20)] * 2
    assert len(accumulating(make_plan(work, small, CORPUS, LARGE, at_least))) >= at_least


def test_large_models_are_cut_by_tiles_and_small_ones_by_rows() -> None:
    """Sums of GPT-2 small would be 11 GB in every file; a pocket model's forward pass costs more than its sums."""
    work = Work(((0, 1),), {"activations": (0, 1)})
    gpt2 = [ModelShape(12, 768, 3072, 50257)] * 2
    by_tiles = make_plan(work, gpt2, CorpusShape(100_000, 512), 64 * 2**30, at_least=8)
    assert all(by_tiles.whole(job) for job in by_tiles.jobs)
    pocket = [ModelShape(2, 128, 384, 365)] * 2
    by_rows = make_plan(work, pocket, CorpusShape(100_000, 128), 2**30, at_least=8)
    assert sum(job.kind == "combine" for job in by_rows.jobs) >= 1


def test_where_memory_asks_for_several_passes_most_end_early() -> None:
    """The first sees all layers, for moments; those after it end at layers before."""
    shapes = [ModelShape(8, 64, 256, 500)]
    work = Work((), {part: (0,) for part in OF_ONE_MODEL})
    one = make_plan(work, shapes, CORPUS, LARGE)
    (_, whole) = one.jobs
    several = make_plan(work, shapes, CORPUS, one.bytes_needed(whole) // 3)
    passes = accumulating(several)
    ends = [several.last_layer(job, 0) for job in passes]
    assert len(ends) > 2 and ends[0] == 7 and ends == sorted(ends, reverse=True) and ends[-1] < 4
    per_pass = one.forward_flop(whole)
    assert [several.forward_flop(job) for job in passes] == pytest.approx([per_pass * (end + 1) / 8 for end in ends])


def test_what_the_finish_takes_is_counted_once_per_job() -> None:
    """n-grams are grouped once for all layers and models of a job, where the job finishes them."""
    work, shapes = Work((), {"ngrams": (0, 1), "examples": (0,)}), [ModelShape(3, 8, 6, 20)] * 2
    (_, job) = make_plan(work, shapes, CORPUS, LARGE).jobs
    shared = {item.size.shared_bytes for item in job.items if isinstance(item, LayerItem) and item.measure == "ngrams"}
    assert shared == {INDEX_BYTES * N_ROWS * (CONTEXT - 1)}
    plain = sum(item.bytes_needed(shapes) for item in job.items)
    plan = make_plan(work, shapes, CORPUS, LARGE)
    assert plan.bytes_needed(job) == plain + shared.pop()
    assert len(accumulating(make_plan(work, shapes, CORPUS, plan.bytes_needed(job)))) == 1
    assert len(accumulating(make_plan(work, shapes, CORPUS, plan.bytes_needed(job) - 1))) == 2
    split = make_plan(work, shapes, CORPUS, LARGE, at_least=4)
    parts = accumulating(split)
    assert all(split.bytes_needed(part) == plain for part in parts)
    finishing = [job for job in split.jobs if job.kind == "combine"]
    assert all(split.bytes_needed(job) == bytes_of(job.items, shapes) for job in finishing)


def test_a_budget_too_small_says_the_least_that_works() -> None:
    work, shapes = Work(((0, 1),), {"activations": (0, 1), "vocabulary": (0, 1)}), [ModelShape(2, 8, 64, 100)] * 2
    with pytest.raises(InputError, match=r"give at least --memory 0\.002"):
        make_plan(work, shapes, CORPUS, 1000)
    assert make_plan(work, shapes, CORPUS, least(work, shapes)).jobs
