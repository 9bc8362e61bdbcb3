"""The plan of the second reading: every neuron of every pair once per block, within memory, after what it needs."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.parts.shapes import CorpusShape, ModelShape
from ingest.plan.cut import Work, make_plan
from ingest.plan.documents import as_json, from_json
from ingest.plan.items import JackknifeItem, MomentItem, Plan, TileItem
from ingest.plan.second_reading import with_second_reading
from ingest.settings import IngestSettings
from ingest.statistics.jackknife import N_BLOCKS
from ingest.statistics.pair_errors import bytes_needed

SHAPES = [ModelShape(2, 8, 6, 20), ModelShape(3, 8, 5, 20), ModelShape(2, 8, 6, 20)]
CORPUS = CorpusShape(64, 16)
TOP_K = 4
LARGE = 2**30


def planned(pairs: tuple[tuple[int, int], ...], budget: int = LARGE, at_least: int = 1) -> Plan:
    work = Work(pairs, {})
    asked = IngestSettings(("a", "b", "c"), "corpus", top_k=TOP_K, jobs=at_least)
    plan = make_plan(work, SHAPES, CORPUS, LARGE, at_least)
    return with_second_reading(plan, work, asked, budget)


PAIRS = st.sets(st.sampled_from([(0, 1), (0, 2), (1, 2)]), min_size=1).map(lambda pairs: tuple(sorted(pairs)))


@settings(deadline=None, max_examples=40)
@given(pairs=PAIRS, neurons=st.integers(1, 60), at_least=st.integers(1, 9))
def test_every_neuron_is_read_once_in_every_block(pairs: tuple[tuple[int, int], ...], neurons: int, at_least: int) -> None:
    budget = bytes_needed(neurons, TOP_K, max(shape.d_mlp for shape in SHAPES))
    plan = planned(pairs, budget, at_least)
    jobs = [job for job in plan.jobs if job.kind == "jackknife"]
    seen: Counter[tuple[int, int, int, int]] = Counter()
    for job in jobs:
        assert plan.bytes_needed(job) <= budget
        for item in job.items:
            assert isinstance(item, JackknifeItem) and job.blocks == (item.first_block, item.end_block)
            places = range(item.first, item.end)
            seen.update((item.a, item.b, i, block) for i in places for block in range(*job.blocks))
    both = [(a, b) for pair in pairs for a, b in (pair, pair[::-1])]
    expected = {(a, b, i, block) for a, b in both for i in range(SHAPES[a].n_neurons) for block in range(N_BLOCKS)}
    assert set(seen) == expected and set(seen.values()) == {1}
    assert len(jobs) >= min(at_least, N_BLOCKS)
    assert from_json(as_json(plan)) == plan


@settings(deadline=None, max_examples=40)
@given(pairs=PAIRS, at_least=st.integers(1, 6))
def test_it_waits_for_the_tiles_and_moments_of_its_models(pairs: tuple[tuple[int, int], ...], at_least: int) -> None:
    plan = planned(pairs, bytes_needed(9, TOP_K, 8), at_least)
    for job in (job for job in plan.jobs if job.kind == "jackknife"):
        before = [item for number in job.after for item in plan.jobs[number].items]
        wanted = {tuple(sorted(item.models)) for item in job.items}
        leaving = [plan.jobs[n] for n in job.after if plan.whole(plan.jobs[n])]
        assert wanted <= {(item.a, item.b) for earlier in leaving for item in earlier.items if isinstance(item, TileItem)}
        assert {*job.models} <= {item.model for item in before if isinstance(item, MomentItem)}
        assert all(number < job.number for number in job.after)


def test_tokens_of_all_blocks_are_those_of_the_corpus_and_its_cost_counts() -> None:
    plan = planned(((0, 1),), at_least=5)
    jobs = [job for job in plan.jobs if job.kind == "jackknife"]
    assert sum(map(plan.tokens, jobs)) == CORPUS.n_rows * CORPUS.context
    assert all(plan.product_flop(job) > 0 and plan.forward_flop(job) > 0 and plan.file_bytes(job) == 0 for job in jobs)


def test_without_pairs_nothing_is_read_again() -> None:
    assert planned(()).jobs == ()
