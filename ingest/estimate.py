"""What a plan costs on a device: memory from the shapes, time from short measurements of the parts a job consists of."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ingest.plan import Job, ModelShape, MomentItem, OwnItem, Plan, TileItem, TokenItem
from ingest.statistics.correlation import WORKING_BYTES, Products
from ingest.statistics.moments import MomentAccumulator
from ingest.statistics.token_sums import TokenSumAccumulator

PROBE_TOKENS = 4096
PROBE_SECONDS = 0.25
PROBE_NEURONS = 2048


@dataclass(frozen=True)
class Rates:
    """What a device does per second."""

    product_flop: float
    """Operations of products of activations."""
    forward_flop: float
    """Operations of forward passes."""
    moments: float
    """Activations, pre and post counted once, whose moments are taken."""
    token_sums: float
    """Activations added to sums per token id."""


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
    seconds: float


def measure(device: torch.device, shapes: list[ModelShape], precision: str) -> Rates:
    """Time products, a block of a forward pass, moments and sums per token on the device, a quarter second each."""
    shape = max(shapes, key=lambda shape: shape.n_neurons)
    n = min(shape.n_neurons, PROBE_NEURONS)
    x = torch.randn(PROBE_TOKENS, n, device=device)
    products = Products(n, n, device, precision=precision)
    moments = MomentAccumulator(torch.zeros(n, device=device))
    sums = TokenSumAccumulator(shape.d_vocab, n, device)
    ids = torch.randint(shape.d_vocab, (PROBE_TOKENS,), device=device)
    up, down = nn.Linear(shape.d_model, shape.d_mlp), nn.Linear(shape.d_mlp, shape.d_model)
    block = nn.Sequential(up, nn.GELU(approximate="tanh"), down).to(device)
    inputs = torch.randn(PROBE_TOKENS, shape.d_model, device=device)
    with torch.inference_mode():
        return Rates(
            product_flop=2.0 * PROBE_TOKENS * n * n / _seconds(device, lambda: products.update(x, x)),
            forward_flop=4.0 * PROBE_TOKENS * shape.d_model * shape.d_mlp / _seconds(device, lambda: block(inputs)),
            moments=PROBE_TOKENS * n / (2 * _seconds(device, lambda: moments.update(x))),
            token_sums=PROBE_TOKENS * n / _seconds(device, lambda: sums.update(x, ids, ids)),
        )


def _seconds(device: torch.device, step: Callable[[], object]) -> float:
    """Seconds of one step, after one that does not count."""
    step()
    _wait(device)
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < PROBE_SECONDS:
        step()
        _wait(device)
        steps += 1
    return (time.perf_counter() - began) / steps


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def estimate(plan: Plan, names: list[str], batch_tokens: int, rates: Rates) -> list[JobEstimate]:
    """What each job of a plan costs.

    Args:
        names: of the models, in the order of the plan's indices.
    """
    return [_estimate(plan, job, names, batch_tokens, rates) for job in plan.jobs]


def peak_bytes(plan: Plan, job: Job, batch_tokens: int) -> int:
    """Memory of a job's accumulators, of the activations of one batch of its models, and of what flushing takes."""
    activations = sum(2 * 4 * plan.shapes[model].n_neurons for model in job.models)
    one_layer = max((3 * 4 * plan.shapes[model].d_mlp for model in job.models), default=0)
    rows = max(1, batch_tokens // plan.corpus.context) * plan.corpus.context
    batch = rows * (activations + one_layer) if job.kind != "combine" else 0
    return plan.bytes_needed(job) + WORKING_BYTES + batch


def _estimate(plan: Plan, job: Job, names: list[str], batch_tokens: int, rates: Rates) -> JobEstimate:
    tokens = plan.tokens(job)
    product, forward = plan.product_flop(job), plan.forward_flop(job)
    neurons = sum(plan.shapes[item.model].n_neurons for item in job.items if isinstance(item, MomentItem))
    summed = sum(item.layers.n_neurons for item in job.items if isinstance(item, TokenItem))
    seconds = product / rates.product_flop + forward / rates.forward_flop
    if job.kind == "accumulate":
        seconds += tokens * (neurons / rates.moments + summed / rates.token_sums)
    return JobEstimate(
        job=job,
        what=describe(job, names),
        tokens=tokens,
        product_flop=product,
        forward_flop=forward,
        accumulator_bytes=plan.bytes_needed(job),
        peak_bytes=peak_bytes(plan, job, batch_tokens),
        file_bytes=plan.file_bytes(job),
        seconds=seconds,
    )


def describe(job: Job, names: list[str]) -> str:
    """The job's items in a few words."""
    if job.kind == "pivots":
        return f"pivots of {len(job.items)} models"
    words = [_tile(item, names) for item in job.items if isinstance(item, TileItem)]
    own = sum(isinstance(item, OwnItem) for item in job.items)
    tokens = sum(isinstance(item, TokenItem) for item in job.items)
    if len(words) > 2:
        words = [f"{words[0]} and {len(words) - 1} more tiles"]
    for name, n in (("layers with themselves", own), ("layers' sums per token", tokens)):
        if n:
            words.append(f"{n} {name}")
    moments = sum(isinstance(item, MomentItem) for item in job.items)
    return ", ".join([*words, *([f"moments of {moments} models"] if moments else [])])


def _tile(item: TileItem, names: list[str]) -> str:
    rows, columns = item.rows, item.columns
    return f"{names[item.a]} {rows.first}-{rows.last} × {names[item.b]} {columns.first}-{columns.last}"
