"""What the jobs of a plan cost on a device: memory from the shapes, time from rates that were measured on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingest.corpus.batches import PIVOT_TOKENS
from ingest.parts import phase_name
from ingest.plan.cut import FLOP_PER_FILE_BYTE
from ingest.plan.items import JackknifeItem, Job, LayerItem, ModelItem, MomentItem, OwnItem, Plan, TileItem
from ingest.preview.sum_rates import Rates
from ingest.statistics.correlation import WORKING_BYTES
from ingest.statistics.pair_errors import ROTATED_DRAWS


@dataclass(frozen=True)
class JobEstimate:
    """What one job costs."""

    job: Job
    phase: str
    """As the ingest names it."""
    what: str
    tokens: int
    product_flop: float
    forward_flop: float
    accumulator_bytes: int
    peak_bytes: int
    """Accumulators and the activations of a batch; models, libraries and the process itself come on top."""
    file_bytes: int
    seconds: float | None
    """None: not known, for a measure was not rehearsed."""


@dataclass(frozen=True)
class Known:
    """What estimates of jobs stand on."""

    names: Sequence[str]
    """Of the models, in the order of the plan's indices."""
    rates: Rates
    """Of sums over the corpus."""
    measured: Sequence[Mapping[str, float]]
    """Of each model, seconds per operation of its measures; what was not rehearsed is not there."""
    batch_tokens: int
    draws: int = 1
    """Rotated baselines of each pair."""


def estimate(plan: Plan, known: Known) -> list[JobEstimate]:
    """What each job of a plan costs."""
    return [_estimate(plan, job, known) for job in plan.jobs]


def peak_bytes(plan: Plan, job: Job, batch_tokens: int) -> int:
    """Memory of a job's accumulators, of the activations of one batch of its models, and of what flushing takes."""
    activations = sum(2 * 4 * plan.shapes[model].n_neurons for model in job.models)
    # of gated neurons, what the gate gives and what it multiplies are there as well
    shapes = [plan.shapes[model] for model in job.models]
    one_layer = max(((5 if shape.gated else 3) * 4 * shape.d_mlp for shape in shapes), default=0)
    rows = max(1, batch_tokens // plan.corpus.context) * plan.corpus.context
    batch = rows * (activations + one_layer) if job.kind in ("pivots", "accumulate", "jackknife") else 0
    if job.kind == "jackknife":
        # post once more, neuron by neuron, and units of rotated layers, of one item at a time
        most = max(item.end - item.first for item in job.items if isinstance(item, JackknifeItem))
        batch += rows * (activations // 2 + 4 * ROTATED_DRAWS * most)
    return plan.bytes_needed(job) + WORKING_BYTES + batch


def _estimate(plan: Plan, job: Job, known: Known) -> JobEstimate:
    (first, *_) = job.items
    return JobEstimate(
        job=job,
        phase=phase_name(first.measure, known.names[first.model]) if isinstance(first, ModelItem) else "accumulate",
        what=describe(job, known.names),
        tokens=plan.tokens(job),
        product_flop=plan.product_flop(job),
        forward_flop=plan.forward_flop(job),
        accumulator_bytes=plan.bytes_needed(job),
        peak_bytes=peak_bytes(plan, job, known.batch_tokens),
        file_bytes=plan.file_bytes(job),
        seconds=_measuring(job, known) if job.kind == "measure" else _seconds(plan, job, known.rates, known.draws),
    )


def _measuring(job: Job, known: Known) -> float | None:
    """Of a job that measures a model."""
    items = [item for item in job.items if isinstance(item, ModelItem)]
    if not all(item.measure in known.measured[item.model] for item in items):
        return None
    return sum(item.operations * known.measured[item.model][item.measure] for item in items)


def _seconds(plan: Plan, job: Job, rates: Rates, draws: int) -> float | None:
    if job.kind == "pivots":
        flop = sum(plan.shapes[model].forward_flop(plan.corpus.context) for model in job.models)
        return min(PIVOT_TOKENS, plan.corpus.n_rows * plan.corpus.context) * flop / rates.forward_flop
    if not {item.measure for item in job.items if isinstance(item, LayerItem)} <= rates.of_measures.keys():
        return None
    tokens = plan.tokens(job)
    seconds = plan.product_flop(job) / rates.product_flop + plan.forward_flop(job) / rates.forward_flop
    for item in job.items if job.kind == "accumulate" else ():
        if isinstance(item, MomentItem):
            seconds += tokens * plan.shapes[item.model].n_neurons * rates.moments
        elif isinstance(item, LayerItem):
            seconds += tokens * item.size.operations * rates.of_measures[item.measure].added
    parts = [plan.jobs[number] for number in job.after] if job.kind == "combine" else []
    moved = plan.file_bytes(job) + sum(plan.file_bytes(part) for part in parts)
    seconds += moved * FLOP_PER_FILE_BYTE / rates.product_flop
    return seconds + (_finishing(plan, job, rates, draws) if plan.whole(job) else 0.0)


def _finishing(plan: Plan, job: Job, rates: Rates, draws: int) -> float:
    """Seconds from complete sums to results."""
    seconds = 0.0
    for item in job.items:
        if isinstance(item, TileItem):
            a, b = item.rows, item.columns
            # each rotated layer meets all neurons of the other side; making it takes two products of its own size
            rotated = 2.0 * draws * (a.n_neurons * b.n_neurons * (a.d_mlp + b.d_mlp))
            rotated += 4.0 * draws * (a.n_neurons * a.d_mlp**2 + b.n_neurons * b.d_mlp**2)
            seconds += rotated / rates.product_flop + 4 * a.n_neurons * b.n_neurons * rates.moments
        elif isinstance(item, LayerItem):
            seconds += item.size.finish_operations * rates.of_measures[item.measure].finished
    shared = {item.measure: item.size.shared_operations for item in job.items if isinstance(item, LayerItem)}
    return seconds + sum(operations * rates.of_measures[measure].shared for measure, operations in shared.items())


def describe(job: Job, names: Sequence[str]) -> str:
    """The job's items in a few words."""
    if job.kind == "measure":
        shares = [item for item in job.items if isinstance(item, ModelItem)]
        return ", ".join(f"{phase_name(i.measure, names[i.model])}, {i.share.number + 1} of {i.share.n_shares}" for i in shares)
    if job.kind == "pivots":
        return f"pivots of {len(job.items)} models"
    if job.kind == "jackknife":
        pairs = {tuple(sorted(item.models)) for item in job.items}
        first, end = job.blocks
        return f"errors of correlations of {len(pairs)} pairs, blocks {first + 1}-{end}"
    words = [_tile(item, names) for item in job.items if isinstance(item, TileItem)]
    n_own = sum(isinstance(item, OwnItem) for item in job.items)
    layers = Counter(item.measure for item in job.items if isinstance(item, LayerItem))
    if len(words) > 2:
        words = [f"{words[0]} and {len(words) - 1} more tiles"]
    if n_own:
        words.append(f"{n_own} layers with themselves")
    words += [f"{measure.replace('_', ' ')} of {n} layers" for measure, n in layers.items()]
    moments = sum(isinstance(item, MomentItem) for item in job.items)
    return ", ".join([*words, *([f"moments of {moments} models"] if moments else [])])


def _tile(item: TileItem, names: Sequence[str]) -> str:
    rows, columns = item.rows, item.columns
    return f"{names[item.a]} {rows.first}-{rows.last} × {names[item.b]} {columns.first}-{columns.last}"
