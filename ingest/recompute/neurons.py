"""Recomputes a sample of a published run's neurons from raw text, by plain sums that share no code with the run's own.

One pass of forward passes; activations of the sampled neurons and of their stored partners become float64, and their
powers and products about the first batch's mean are summed in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sqlalchemy import Engine
from torch import Tensor

from catalog.errors import InputError
from catalog.verify.checks import Finding
from catalog.verify.sample import MOMENTS, Sample, SampledModel, SampledPairs, read_sample
from ingest.checkpoints.behaviour import changed
from ingest.corpus.batches import kept_activations, token_batches
from ingest.inputs import Inputs, load_inputs
from ingest.progress import Progress
from ingest.recompute.remembered import Memory
from ingest.settings import IngestSettings, from_record

TOLERANCE = {"fp32": 1e-5}
LOOSE_TOLERANCE = 1e-4
"""For runs in a precision below fp32."""
STORED_ROUNDING = 2.0**-24
"""Of a correlation, which is stored as float4."""
NEAR_ZERO = 1e-5
"""Pre-activations this close to 0 may have either sign on another device."""


@dataclass(frozen=True)
class Moments:
    """What is recomputed of some neurons, float64 each; skew and kurt are NaN where `flat`."""

    n: int
    mean: Tensor
    var: Tensor
    skew: Tensor
    kurt: Tensor
    flat: Tensor
    """bool: the variance is so small that rounding decides whether it counts as none."""
    condition: Tensor
    """Root mean square over standard deviation, at least 1: by so much more does a rounded activation count."""


class Powers:
    """Sums of powers about a pivot, of the columns of one model."""

    def __init__(self, n_neurons: int, device: torch.device) -> None:
        self.n = 0
        self.pivot: Tensor | None = None
        self.sums = torch.zeros(4, n_neurons, dtype=torch.float64, device=device)

    def update(self, activations: Tensor) -> Tensor:
        """Add (tokens, neurons) fp32; returns them about the pivot in float64."""
        values = activations.double()
        if self.pivot is None:
            self.pivot = values.mean(0)
        values -= self.pivot
        self.n += len(values)
        for power in range(4):
            self.sums[power] += (values ** (power + 1)).sum(0)
        return values

    @property
    def centred(self) -> Tensor:
        """Sums of squared deviations from the mean."""
        return (self.sums[1] - self.sums[0] ** 2 / self.n).clamp_min(0)

    def compute(self) -> Moments:
        """Population moments (SPEC 3.1)."""
        assert self.pivot is not None
        m1, m2, m3, m4 = self.sums / self.n
        var = self.centred / self.n
        flat = self.centred <= 1e-10 * self.sums[1].clamp_min(1)
        undefined = torch.full_like(var, torch.nan)
        skew = torch.where(flat, undefined, (m3 - 3 * m1 * m2 + 2 * m1**3) / var**1.5)
        kurt = torch.where(flat, undefined, (m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4) / var**2)
        mean = self.pivot + m1
        condition = ((mean**2 + var) / var.clamp_min(1e-300)).sqrt()
        return Moments(self.n, mean, var, skew, kurt, flat, condition)


class ModelSums:
    """Everything that is summed of one model."""

    def __init__(self, sampled: np.ndarray, partners: np.ndarray, device: torch.device) -> None:
        self.columns = np.union1d(sampled, partners)
        self.sampled = torch.from_numpy(np.searchsorted(self.columns, sampled)).to(device)
        self._columns = torch.from_numpy(self.columns).to(device)
        self.pre, self.post = Powers(len(sampled), device), Powers(len(self.columns), device)
        self.positive = torch.zeros(len(sampled), dtype=torch.int64, device=device)
        self.near_zero = torch.zeros(len(sampled), dtype=torch.int64, device=device)

    def update(self, pre: Tensor, post: Tensor) -> Tensor:
        """Add a batch, (tokens, all neurons) each; returns post of the columns about its pivot, float64."""
        sampled = pre[:, self._columns[self.sampled]]
        self.positive += (sampled > 0).sum(0)
        self.near_zero += (sampled.abs() <= NEAR_ZERO).sum(0)
        self.pre.update(sampled)
        return self.post.update(post[:, self._columns])


def recompute(engine: Engine, run_id: int, size: int, seed: int, device: str, progress: Progress) -> list[Finding]:
    """Compare what is stored of a random sample with what raw text gives now.

    Args:
        size: neurons of the whole run; 0 means all, whose products with all partners are held in float64.
    Raises:
        InputError: a model or the corpus cannot be read any more, or is not what the run read.
    """
    sample = read_sample(engine, run_id, size, seed)
    if sample.token_sha256 is None:
        return [Finding("recomputation", "sample", "unknown", "the run read no corpus, so there is nothing to recompute")]
    settings = _settings(sample.settings, device)
    remembered = Memory(settings)
    try:
        inputs = load_inputs(settings, progress)
    except (InputError, OSError) as error:
        raise InputError(_unreadable(run_id, str(error).strip().rstrip("."))) from None
    findings = remembered.compare(inputs)
    inputs = _as_the_run_read_them(run_id, sample, inputs)
    sums, products = _accumulate(sample, inputs, settings.batch_tokens, progress)
    tolerance = TOLERANCE.get(str(sample.settings.get("precision", "fp32")), LOOSE_TOLERANCE)
    return [*findings, *_compare(sample, sums, products, tolerance)]


def _settings(recorded: dict[str, Any], device: str) -> IngestSettings:
    """The settings that the run was computed with, as far as they decide what is read."""
    settings = from_record(recorded["read_as"])
    return replace(settings, device=device, precision="fp32", only=("activations",), database_url=None)


def _unreadable(run_id: int, reason: str) -> str:
    return f"run {run_id} cannot be recomputed, because {reason}; --no-recompute leaves that out."


def _as_the_run_read_them(run_id: int, sample: Sample, inputs: Inputs) -> Inputs:
    """The inputs with the models in the run's order."""
    by_sha = {checkpoint.identity.sha256: checkpoint for checkpoint in inputs.checkpoints}
    for model in sample.models:
        if model.identity not in by_sha:
            raise InputError(_unreadable(run_id, f"{model.name} is not the model that it read ({_changed(model, inputs)})"))
    if inputs.corpus is None or inputs.corpus.token_sha256 != sample.token_sha256:
        raise InputError(_unreadable(run_id, "the corpus gives other tokens than those that it read"))
    return replace(inputs, checkpoints=[by_sha[model.identity] for model in sample.models])


def _changed(model: SampledModel, inputs: Inputs) -> str:
    """What the checkpoint of that name is otherwise."""
    named = [checkpoint.identity for checkpoint in inputs.checkpoints if checkpoint.name == model.name]
    return changed(named[0], model.weights_sha256, model.behaviour) if named else "no model of this name was read"


Products = dict[tuple[int, int], Tensor]
"""(sampled neurons of one model, columns of the other) float64 sums about the pivots, by places of the two models."""


@torch.inference_mode()
def _accumulate(sample: Sample, inputs: Inputs, batch_tokens: int, progress: Progress) -> tuple[list[ModelSums], Products]:
    assert inputs.corpus is not None
    sums = []
    for place, model in enumerate(sample.models):
        partners = [pairs.partners for (_, other), pairs in sample.pairs.items() if other == place]
        sums.append(ModelSums(model.neurons, np.concatenate([np.empty(0, np.int64), *partners]), inputs.device))
    products = {
        (one, other): torch.zeros(len(sums[one].sampled), len(sums[other].columns), dtype=torch.float64, device=inputs.device)
        for one, other in sample.pairs
    }
    progress.phase("recompute", inputs.corpus.n_tokens, "tokens")
    for batch in token_batches(inputs.corpus, batch_tokens, inputs.device):
        post = [
            one.update(*kept_activations(checkpoint, batch)) for one, checkpoint in zip(sums, inputs.checkpoints, strict=True)
        ]
        for (one, other), product in products.items():
            product.addmm_(post[one][:, sums[one].sampled].T, post[other])
        progress.advance(batch.tokens.numel())
    return sums, products


def _compare(sample: Sample, sums: list[ModelSums], products: Products, tolerance: float) -> Iterator[Finding]:
    n_neurons = sum(len(model.neurons) for model in sample.models)
    if any(model.statistics for model in sample.models):
        read = zip(sample.models, sums, strict=True)
        differences = [text for model, one in read for text in _statistics(model, one, tolerance)]
        yield _finding(f"activation statistics of {n_neurons:,} neurons", differences)
    n_pairs = sum(len(pairs.neurons) for pairs in sample.pairs.values())
    if n_pairs:
        differences = []
        for (one, other), pairs in sample.pairs.items():
            models = sample.models[one], sample.models[other]
            differences += _correlations(models, pairs, sums[one], sums[other], products[one, other], tolerance)
        yield _finding(f"correlations of {n_neurons:,} neurons with {n_pairs:,} stored partners", differences)


def _finding(subject: str, differences: list[str]) -> Finding:
    more = f", and {len(differences) - 1:,} more" if len(differences) > 1 else ""
    return Finding("recomputation", subject, "differs" if differences else "ok", differences[0] + more if differences else "")


def _statistics(model: SampledModel, sums: ModelSums, tolerance: float) -> Iterator[str]:
    """What is stored otherwise than it is, of one model."""
    if not model.statistics:
        return
    for i in np.flatnonzero(model.n_tokens != sums.pre.n):
        yield f"{model.neuron(model.neurons[i])} has {model.n_tokens[i]:,} tokens and {sums.pre.n:,} recomputed"
    for prefix, powers, chosen in (("", sums.pre, slice(None)), ("post_", sums.post, sums.sampled)):
        moments = powers.compute()
        flat, condition = (column[chosen].cpu().numpy() for column in (moments.flat, moments.condition))
        mean, var = (column[chosen].cpu().numpy() for column in (moments.mean, moments.var))
        # below this, rounding of the activations decides
        scale = {"mean": np.sqrt(var), "var": 1e-7 * (mean**2 + var), "skew": 1.0, "kurt": 1.0}
        for name in MOMENTS:
            is_shape = name in ("skew", "kurt")
            reference = getattr(moments, name)[chosen].cpu().numpy()
            allowed = tolerance * condition * np.maximum(np.abs(reference), scale[name])
            if not is_shape:
                allowed = np.where(flat, np.maximum(allowed, tolerance * np.sqrt(mean**2 + var)), allowed)
            yield from _differing(model, prefix + name, reference, allowed, flat if is_shape else np.zeros_like(flat))
    n = sums.pre.n
    allowed = tolerance + sums.near_zero.cpu().numpy() / n
    yield from _differing(model, "sparsity", sums.positive.cpu().numpy() / n, allowed, np.zeros(len(allowed), bool))


def _differing(model: SampledModel, name: str, reference: np.ndarray, allowed: np.ndarray, free: np.ndarray) -> Iterator[str]:
    """Neurons whose stored number is off; where `free`, it may be undefined or anything."""
    stored = model.statistics[name]
    with np.errstate(invalid="ignore"):
        same = np.abs(stored - reference) <= allowed
    for i in np.flatnonzero(~same & ~free):
        yield f"{name} of {model.neuron(model.neurons[i])} is {_text(stored[i])} and {_text(reference[i])} recomputed"


def _correlations(
    models: tuple[SampledModel, SampledModel],
    pairs: SampledPairs,
    sums: ModelSums,
    other: ModelSums,
    products: Tensor,
    tolerance: float,
) -> Iterator[str]:
    """Stored pairs whose correlation is otherwise than stored."""
    rows = np.searchsorted(sums.columns[sums.sampled.cpu().numpy()], pairs.neurons)
    columns = np.searchsorted(other.columns, pairs.partners)
    places = sums.sampled.cpu().numpy()[rows]
    s_x, s_y = sums.post.sums[0].cpu().numpy()[places], other.post.sums[0].cpu().numpy()[columns]
    norm = np.sqrt(sums.post.centred.cpu().numpy()[places] * other.post.centred.cpu().numpy()[columns])
    with np.errstate(invalid="ignore", divide="ignore"):
        reference = (products.cpu().numpy()[rows, columns] - s_x * s_y / sums.post.n) / norm
    condition = np.maximum(
        sums.post.compute().condition.cpu().numpy()[places], other.post.compute().condition.cpu().numpy()[columns]
    )
    off = ~(np.abs(pairs.correlations - reference) <= tolerance * condition + STORED_ROUNDING)
    for i in np.flatnonzero(off):
        names = f"{models[0].neuron(pairs.neurons[i])} and {models[1].neuron(pairs.partners[i])}"
        yield f"the correlation of {names} is {_text(pairs.correlations[i])} and {_text(reference[i])} recomputed"


def _text(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.7g}"
