"""Cuts a run's work into jobs (see `ingest.plan.items`).

One job holds everything if it fits. Where several are wanted, for several workers or because memory asks for them, there
are two ways, and the cheaper one is taken: finer tiles, each of which runs the forward passes of its models again; or
ranges of rows, whose sums travel through files and are added up.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from catalog import parts as parts_of_runs
from catalog.errors import InputError
from ingest.checkpoints.undefined import Described
from ingest.parts import LAYER_MEASURES, MEASURES, OF_MODELS, measures_of_models
from ingest.parts.measure import PARTNERS, LayerMeasure, PairMeasure
from ingest.parts.shapes import CorpusShape, ModelShape, Share
from ingest.parts.undefined import reason_of
from ingest.plan.items import Item, Job, LayerItem, ModelItem, MomentItem, OwnItem, Plan, TileItem, bytes_of
from ingest.settings import IngestSettings
from ingest.statistics.tiles import LayerSpan

FORWARD_EFFICIENCY = 0.5
"""Rate of a forward pass over that of a large matrix product."""
FLOP_PER_FILE_BYTE = 200.0
"""Operations in the time that one byte takes to be written and read; both matter only for the choice between plans."""

MOST_FILE_BYTES = 8 * 2**30
"""Of two ways to cut, one that leaves more than this in the staging folder is not taken."""


OF_ONE_MODEL = tuple(dict.fromkeys(m.part for m in MEASURES if isinstance(m, LayerMeasure)))
"""Parts of a run that are statistics of one model on the corpus."""
OF_PAIRS = {measure.part for measure in MEASURES if isinstance(measure, PairMeasure)}


@dataclass(frozen=True)
class Work:
    """What to compute of the models at hand; indices into the list of models."""

    pairs: tuple[tuple[int, int], ...]
    by_part: Mapping[str, tuple[int, ...]]
    """Models by the part that wants sums over the corpus of their own."""
    measured: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Models by the part of which something is found of one model at a time."""

    @classmethod
    def of(
        cls,
        parts: Collection[str],
        n_models: int,
        known_models: Collection[int] = (),
        known_pairs: Collection[tuple[int, int]] = (),
    ) -> "Work":
        """What these parts of a run need, without what is known already."""
        new = tuple(model for model in range(n_models) if model not in known_models)
        every = tuple(range(n_models))
        pairs = (pair for pair in combinations(range(n_models), 2) if pair not in known_pairs)
        return cls(
            pairs=tuple(pairs) if OF_PAIRS & {*parts} else (),
            by_part={part: new for part in OF_ONE_MODEL if part in parts},
            measured={part: every if parts_of_runs.of_all_models(part) else new for part in OF_MODELS if part in parts},
        )

    def defined(self, shapes: Sequence[ModelShape]) -> "Work":
        """What is left of it without models of which a part sums nothing."""
        summed = {
            part: [model for model in models if any(_sums(measure, part, shapes[model]) for measure in LAYER_MEASURES.values())]
            for part, models in self.by_part.items()
        }
        return replace(self, by_part={part: tuple(models) for part, models in summed.items()})

    @property
    def models(self) -> list[int]:
        """Whose activations are summed."""
        paired = {model for pair in self.pairs for model in pair}
        return sorted(paired.union(*self.by_part.values()))

    def wants(self, part: str, model: int) -> bool:
        """Whether a part is to be computed of a model."""
        return model in self.by_part.get(part, ())


def _sums(measure: LayerMeasure[Any], part: str, shape: ModelShape) -> bool:
    """Whether it sums of a model what is the part's."""
    return measure.part == part and measure.sums_of(shape)


def _plan_of(jobs: Iterable[Job], shapes: list[ModelShape], corpus: CorpusShape) -> Plan:
    return Plan(tuple(jobs), tuple(shapes), corpus)


def make_plan(work: Work, shapes: list[ModelShape], corpus: CorpusShape, budget: int, at_least: int = 1) -> Plan:
    """Cut `work` into jobs whose accumulators fit `budget` bytes.

    Args:
        at_least: jobs wanted, for as many workers; fewer where there is not enough to cut.
    Raises:
        InputError: the budget is too small for the smallest pieces; the sentence says the least that works.
    """
    work = work.defined(shapes)
    if not work.models:
        return _plan_of((), shapes, corpus)
    _check_budget(work, shapes, corpus, budget)
    one = _Cut(work, shapes, corpus)
    whole = one.in_passes(budget)
    if at_least <= 1 or corpus.n_rows < 2:
        return whole
    by_rows = one.by_rows(budget, at_least)
    by_tiles = one.by_tiles(budget, at_least)
    enough = [plan for plan in (by_tiles, by_rows) if _parallel(plan) >= at_least]
    modest = [plan for plan in enough if sum(map(plan.file_bytes, plan.jobs)) <= MOST_FILE_BYTES]
    return min(modest or enough[:1] or [by_rows], key=cost)


def with_measures(plan: Plan, work: Work, settings: IngestSettings, budget: int, models: Sequence[Described]) -> Plan:
    """The plan with jobs for what is found of one model at a time; each share of a measure is one, so that it is kept.

    Args:
        budget: bytes in which a measure may work.
        models: those of the run, of which something may not be defined.
    """
    jobs, context = list(plan.jobs), plan.corpus.context
    for model, shape in enumerate(plan.shapes):
        providers = {PARTNERS: [job.number for job in plan.jobs if _finishes_pairs_of(plan, job, model)]}
        for measure in measures_of_models([part for part, wanted in work.measured.items() if model in wanted]):
            if reason_of(measure, models[model], context) is not None:
                continue
            shares = measure.shares(shape, settings)
            rows = min(plan.corpus.n_rows, -(-measure.tokens_wanted(settings) // context)) if measure.reads_corpus else 0
            tokens = rows * context
            operations = measure.operations(shape, tokens, measure.expected(shape, settings) // max(1, shares), shares)
            sizes = tokens, operations, measure.bytes_needed(shape, settings, budget)
            after = sorted({job for need in measure.needs for job in providers[need]})
            numbers = range(len(jobs), len(jobs) + shares)
            for number in numbers:
                item = ModelItem(measure.name, model, Share(number - numbers.start, shares), *sizes)
                jobs.append(Job(number, "measure", (item,), 0, 0, tuple(after)))
            providers |= {provided: list(numbers) for provided in measure.provides}
    return replace(plan, jobs=tuple(jobs))


def _finishes_pairs_of(plan: Plan, job: Job, model: int) -> bool:
    """Whether the job ends in partners of the model's neurons."""
    return plan.whole(job) and any(isinstance(item, TileItem) and model in item.models for item in job.items)


def cost(plan: Plan) -> float:
    """Operations, with forward passes and files weighed by what they take of the time of a product."""
    return sum(
        plan.product_flop(job) + plan.forward_flop(job) / FORWARD_EFFICIENCY + plan.file_bytes(job) * FLOP_PER_FILE_BYTE
        for job in plan.jobs
    )


def _parallel(plan: Plan) -> int:
    return sum(job.kind == "accumulate" for job in plan.jobs)


def _check_budget(work: Work, shapes: list[ModelShape], corpus: CorpusShape, budget: int) -> None:
    smallest = _items(work, shapes, corpus, tile_bytes=0)
    least = max(bytes_of([item], shapes) for item in smallest)
    if least > budget:
        raise InputError(
            f"--memory {budget / 2**30:.3g} GiB is too small for the sums of one layer; give at least "
            f"--memory {least / 2**30 + 0.001:.3f}."
        )


def _items(
    work: Work, shapes: list[ModelShape], corpus: CorpusShape, tile_bytes: int, models: list[int] | None = None
) -> list[Item]:
    """All items in the order in which they are packed: those that others wait for come first, then the last layers.

    Forward passes of a job end at its last layer, so that where memory asks for several, most of them are short.
    """
    wanted = work.models if models is None else models
    paired = {model for pair in work.pairs for model in pair}
    items: list[Item] = [MomentItem(model) for model in wanted]
    for model in wanted:
        spans = [LayerSpan(layer, layer, shapes[model].d_mlp) for layer in range(shapes[model].n_layers)]
        items += [OwnItem(model, span) for span in spans if model in paired]
        sizes = {
            name: measure.size(shapes[model].of_neurons(shapes[model].d_mlp, corpus))
            for name, measure in LAYER_MEASURES.items()
            if work.wants(measure.part, model) and measure.sums_of(shapes[model])
        }
        items += [LayerItem(name, model, span, size) for span in reversed(spans) for name, size in sizes.items()]
    if models is None:
        items += tiles(work, shapes, tile_bytes)
    return items


def tiles(work: Work, shapes: list[ModelShape], tile_bytes: int) -> list[TileItem]:
    """The tiles of all pairs: the longer side is halved until a tile has at most `tile_bytes` bytes."""
    return [tile for a, b in work.pairs for tile in _tiles_of_pair(a, b, shapes, tile_bytes)]


def _tiles_of_pair(a: int, b: int, shapes: list[ModelShape], tile_bytes: int) -> list[TileItem]:
    n_rows, n_columns = shapes[a].n_layers, shapes[b].n_layers
    d_a, d_b = shapes[a].d_mlp, shapes[b].d_mlp

    def tile(row: int, column: int, high: int, wide: int) -> TileItem:
        rows = LayerSpan(row, min(row + high, n_rows) - 1, d_a)
        return TileItem(a, b, rows, LayerSpan(column, min(column + wide, n_columns) - 1, d_b))

    high, wide = n_rows, n_columns
    while tile(0, 0, high, wide).bytes_needed(shapes) > tile_bytes and (high > 1 or wide > 1):
        if wide == 1 or (high > 1 and high * d_a >= wide * d_b):
            high = (high + 1) // 2
        else:
            wide = (wide + 1) // 2
    return [tile(row, column, high, wide) for row in range(0, n_rows, high) for column in range(0, n_columns, wide)]


def _pack(items: Iterable[Item], shapes: list[ModelShape], budget: int) -> list[list[Item]]:
    """Fill passes in order, so that a tile never comes in an earlier pass than the products of its layers."""
    passes: list[list[Item]] = [[]]
    free, shared = budget, dict[str, int]()
    for item in items:
        of_finish = item.size.shared_bytes if isinstance(item, LayerItem) else 0
        name = item.measure if isinstance(item, LayerItem) else ""
        size = item.bytes_needed(shapes) + max(0, of_finish - shared.get(name, 0))
        if size > free and passes[-1]:
            passes.append([])
            free, shared = budget, {}
            size = bytes_of([item], shapes)
        passes[-1].append(item)
        shared[name] = max(of_finish, shared.get(name, 0))
        free -= size
    return passes


@dataclass(frozen=True)
class _Cut:
    """The ways to cut one run's work."""

    work: Work
    shapes: list[ModelShape]
    corpus: CorpusShape

    def in_passes(self, budget: int) -> Plan:
        """As few passes over all rows as the budget allows."""
        return self._plan(self._passes(budget), 1)

    def by_tiles(self, budget: int, at_least: int) -> Plan:
        """Jobs over all rows: one per model for its own sums, then one for every few tiles."""
        base = [
            one_pass
            for model in self.work.models
            for one_pass in _pack(_items(self.work, self.shapes, self.corpus, 0, [model]), self.shapes, budget)
        ]
        total = sum(tile.bytes_needed(self.shapes) for tile in tiles(self.work, self.shapes, budget))
        share = min(budget, max(total // max(1, at_least), 1))
        fine = tiles(self.work, self.shapes, share)
        packed = _pack(fine, self.shapes, max(share, max((t.bytes_needed(self.shapes) for t in fine), default=0)))
        return self._plan([*base, *(one_pass for one_pass in packed if one_pass)], 1)

    def by_rows(self, budget: int, at_least: int) -> Plan:
        """Every pass over several ranges of rows, and jobs that add their sums up."""
        passes = self._passes(budget)
        parts = min(self.corpus.n_rows, -(-at_least // len(passes)))
        return self._plan(passes, parts, combine=at_least)

    def _passes(self, budget: int) -> list[list[Item]]:
        """Everything in one pass if it fits, else with tiles small enough that what sums of layers leave over is not wasted."""
        passes = _pack(_items(self.work, self.shapes, self.corpus, budget), self.shapes, budget)
        if len(passes) == 1:
            return passes
        return _pack(_items(self.work, self.shapes, self.corpus, budget // 2), self.shapes, budget)

    def _plan(self, passes: list[list[Item]], parts: int, combine: int = 1) -> Plan:
        jobs = [Job(0, "pivots", tuple(MomentItem(model) for model in self.work.models), 0, self.corpus.n_rows, ())]
        holders: dict[str, list[int]] = {}
        edges = [self.corpus.n_rows * part // parts for part in range(parts + 1)]
        accumulate: list[list[int]] = []
        for items in passes:
            numbers = list(range(len(jobs), len(jobs) + parts))
            accumulate.append(numbers)
            for item in items:
                holders[item.key] = numbers
            for number, first, end in zip(numbers, edges, edges[1:], strict=False):
                after = {0} if parts > 1 else {0} | (self._needs(items, holders) - {number})
                jobs.append(Job(number, "accumulate", tuple(items), first, end, tuple(sorted(after))))
        if parts > 1:
            for items, numbers in zip(passes, accumulate, strict=True):
                for group in _groups(items, combine, self.shapes):
                    after = {0, *numbers} | self._needs(group, holders)
                    jobs.append(Job(len(jobs), "combine", tuple(group), 0, self.corpus.n_rows, tuple(sorted(after))))
        return _plan_of(jobs, self.shapes, self.corpus)

    def _needs(self, items: Iterable[Item], holders: dict[str, list[int]]) -> set[int]:
        """Jobs whose sums are read when these items are finished."""
        keys: set[str] = set()
        for item in items:
            if isinstance(item, TileItem) or (isinstance(item, LayerItem) and LAYER_MEASURES[item.measure].reads_moments):
                keys |= {MomentItem(model).key for model in item.models}
            if isinstance(item, TileItem):
                keys |= item.own_keys
        return {number for key in keys for number in holders[key]}


FINISHED = TileItem | LayerItem
"""Items that end in results of their own; the others are sums that these need."""


def _groups(items: list[Item], wanted: int, shapes: list[ModelShape]) -> list[list[Item]]:
    """What there is to finish, in at most `wanted` groups of about equal size."""
    finish = sorted(
        (item for item in items if isinstance(item, FINISHED)),
        key=lambda item: item.bytes_needed(shapes),
        reverse=True,
    )
    groups: list[list[Item]] = [[] for _ in range(min(wanted, len(finish)))]
    for item in finish:
        min(groups, key=lambda group: sum(other.bytes_needed(shapes) for other in group)).append(item)
    return groups
