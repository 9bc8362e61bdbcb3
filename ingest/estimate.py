"""What the jobs of a plan cost on a device: memory from the shapes, time from rates that were measured on it."""

from collections import Counter
from dataclasses import dataclass

from ingest.activations import PIVOT_TOKENS
from ingest.plan import Job, LayerItem, MomentItem, OwnItem, Plan, TileItem
from ingest.planner import FLOP_PER_FILE_BYTE
from ingest.statistics.correlation import WORKING_BYTES
from ingest.sum_rates import Rates


@dataclass(frozen=True)
class JobEstimate:
    """What one job costs."""

    job: Job
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


def estimate(plan: Plan, names: list[str], batch_tokens: int, rates: Rates, draws: int = 1) -> list[JobEstimate]:
    """What each job of a plan costs.

    Args:
        names: of the models, in the order of the plan's indices.
        draws: rotated baselines of each pair.
    """
    return [_estimate(plan, job, names, batch_tokens, rates, draws) for job in plan.jobs]


def peak_bytes(plan: Plan, job: Job, batch_tokens: int) -> int:
    """Memory of a job's accumulators, of the activations of one batch of its models, and of what flushing takes."""
    activations = sum(2 * 4 * plan.shapes[model].n_neurons for model in job.models)
    one_layer = max((3 * 4 * plan.shapes[model].d_mlp for model in job.models), default=0)
    rows = max(1, batch_tokens // plan.corpus.context) * plan.corpus.context
    batch = rows * (activations + one_layer) if job.kind != "combine" else 0
    return plan.bytes_needed(job) + WORKING_BYTES + batch


def _estimate(plan: Plan, job: Job, names: list[str], batch_tokens: int, rates: Rates, draws: int) -> JobEstimate:
    return JobEstimate(
        job=job,
        what=describe(job, names),
        tokens=plan.tokens(job),
        product_flop=plan.product_flop(job),
        forward_flop=plan.forward_flop(job),
        accumulator_bytes=plan.bytes_needed(job),
        peak_bytes=peak_bytes(plan, job, batch_tokens),
        file_bytes=plan.file_bytes(job),
        seconds=_seconds(plan, job, rates, draws),
    )


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


def describe(job: Job, names: list[str]) -> str:
    """The job's items in a few words."""
    if job.kind == "pivots":
        return f"pivots of {len(job.items)} models"
    words = [_tile(item, names) for item in job.items if isinstance(item, TileItem)]
    own = sum(isinstance(item, OwnItem) for item in job.items)
    layers = Counter(item.measure for item in job.items if isinstance(item, LayerItem))
    if len(words) > 2:
        words = [f"{words[0]} and {len(words) - 1} more tiles"]
    if own:
        words.append(f"{own} layers with themselves")
    words += [f"{measure.replace('_', ' ')} of {n} layers" for measure, n in layers.items()]
    moments = sum(isinstance(item, MomentItem) for item in job.items)
    return ", ".join([*words, *([f"moments of {moments} models"] if moments else [])])


def _tile(item: TileItem, names: list[str]) -> str:
    rows, columns = item.rows, item.columns
    return f"{names[item.a]} {rows.first}-{rows.last} × {names[item.b]} {columns.first}-{columns.last}"
