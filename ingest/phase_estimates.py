"""What every phase of an ingest takes, in the order in which the ingest reports them.

Phases that were rehearsed on a small model are scaled by the operations that they consist of; rows are counted and written at
the rates of the database. A phase of which nothing is known has None, never 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.estimate import JobEstimate
from ingest.parts.shapes import ModelShape
from ingest.rehearsal import Rehearsal
from ingest.roles.intervention import FIXED_AT
from ingest.settings import IngestSettings
from ingest.write_rates import WriteRates

OF_PARTITIONS = {
    "weights": 60, "vocabulary": 20, "examples": 68, "next_tokens": 5, "prediction": 5, "redundancy": 83,
}  # fmt: skip
"""Rows per neuron that a part writes, about, and that stay in the table in which they were staged; beside those per model and
subset."""
ROWS = {
    "weights": 1, "activations": 1, "correlations": 1, "vocabulary": 2, "positions": 1, "distributions": 4, "ngrams": 2,
    "examples": 0, "next_tokens": 0, "topics": 5, "prediction": 0, "redundancy": 0, "attention": 2.1, "ablations": 0.3,
    "class_activity": 0.1, "entropy": 0.2, "syntax": 5,
}  # fmt: skip
"""Rows per neuron that a part writes, about, and that are entered into tables of all runs."""
WIDE = {"distributions": 60}
"""Narrow rows that the wide ones of a part take as long as, per neuron."""
ROWS_MADE = 8.0
"""Times as long as its COPY that a staged row takes, made from arrays and checked."""
ROW_PUBLISHED = 14.0
"""Times as long as entering one table with a key that a row takes to be published: other indexes, constraints, labels."""
ROW_ATTACHED = 1.0
"""The same of a row that stays where it was staged: its foreign keys are joined, and it is hashed."""
PUBLISHED = 1.0
"""Seconds that a publication takes however few rows there are: its checks, and the server's statistics of all tables."""
MERGED = 5e-5
"""Seconds per neuron and other model for universality and groups."""
HELD_SHARE = 0.001
"""Of the neurons of the last two layers, that may be entropy neurons, about: the largest hundredth by one measure of which few
are among the smallest hundredth by another."""
CONTROLS = 20
"""Neurons that they are compared with."""


@dataclass(frozen=True)
class PhaseEstimate:
    """One phase, or one of the jobs of the phase `accumulate`."""

    phase: str
    """As the ingest names it."""
    seconds: float | None
    """None: not known."""
    tokens: int = 0
    """That go through a model."""
    job: JobEstimate | None = None


@dataclass(frozen=True)
class Reading:
    """What reading takes, measured before; None: not known. A phase that there is not is not there."""

    tokenise: float | None = None
    topics: float | None = None
    syntax: float | None = None


@dataclass(frozen=True)
class Outlook:
    """Everything that estimates stand on."""

    settings: IngestSettings
    names: Sequence[str]
    shapes: Sequence[ModelShape]
    n_tokens: int
    context: int
    n_subsets: int
    jobs: Sequence[JobEstimate]
    rehearsals: Sequence[Rehearsal | None]
    """One of each model; None where it could not be rehearsed."""
    reading: Reading
    rates: WriteRates | None

    def phases(self) -> Iterator[PhaseEstimate]:
        """All phases of the ingest on a catalog that knows nothing of it yet."""
        parts = {*self.settings.parts}
        yield PhaseEstimate("load", self._of_all("load"))
        if self.settings.needs_corpus:
            yield PhaseEstimate("tokenise", self.reading.tokenise)
        yield PhaseEstimate("check weights", self._of_all("check weights"))
        if "topics" in parts and self.settings.topics is None:
            yield PhaseEstimate("find topics", self.reading.topics)
        if "syntax" in parts:
            yield PhaseEstimate("annotate syntax", self.reading.syntax)
        for job in self.jobs:
            yield PhaseEstimate("accumulate", job.seconds, job.tokens, job)
        for model, name in enumerate(self.names):
            for phase, tokens in self._roles(self.shapes[model]):
                yield PhaseEstimate(f"{phase}, {name}", self._scaled(phase, model), tokens)
        yield from self._writing()

    def _of_all(self, phase: str) -> float | None:
        return _sum([self._scaled(phase, model) for model in range(len(self.shapes))])

    def _roles(self, shape: ModelShape) -> Iterator[tuple[str, int]]:
        """Phases of one model, and the tokens that they read."""
        parts = {*self.settings.parts}
        tokens = min(self.n_tokens, -(-self.settings.intervention_tokens // self.context) * self.context)
        if parts & {"weights", "prediction", "class_activity", "entropy"}:
            yield "effects on logits", 0
        if "redundancy" in parts:
            yield "similar neurons", 0
        if "attention" in parts:
            yield "heads", 0
        if "ablations" in parts:
            yield "norms of heads", tokens
            if shape.n_layers > 1:
                yield "path ablation", tokens
        if "class_activity" in parts:
            yield "activity before classes", tokens
        if "entropy" in parts:
            yield "interventions", tokens

    def _scaled(self, phase: str, model: int) -> float | None:
        """Seconds of a phase of one model."""
        rehearsal = self.rehearsals[model]
        if rehearsal is None or phase not in rehearsal.seconds:
            return None
        big, small = self.shapes[model], rehearsal.shape
        return rehearsal.seconds[phase] * self._work(phase, big, None) / self._work(phase, small, rehearsal)

    def _work(self, phase: str, shape: ModelShape, rehearsal: Rehearsal | None) -> float:
        """What a phase is proportional to, of a model that is planned, or of the one that was rehearsed."""
        n, d = shape.n_neurons, shape.d_model
        layer = 2 * d * d + shape.d_mlp * d
        if phase in ("load", "check weights"):
            return shape.n_layers * (4 * d * d + 2 * d * shape.d_mlp) + 2 * shape.d_vocab * d
        if phase in ("effects on logits", "vectors"):
            return n * d * shape.d_vocab
        if phase == "similar neurons":
            return n * n * (d + 100)
        if phase == "heads":
            return n * shape.n_layers * d * d
        tokens = dict(self._roles(shape))[phase] if rehearsal is None else rehearsal.n_tokens
        if phase == "interventions":
            held = self._held(shape) if rehearsal is None else rehearsal.n_held
            return tokens * (layer * shape.n_layers + held * (layer + d * shape.d_vocab))
        pairs = 2 * self.settings.ablation_pairs if rehearsal is None else rehearsal.n_pairs
        return tokens * shape.n_layers * layer * (1 if phase != "path ablation" else 1 + pairs / 20)

    def _held(self, shape: ModelShape) -> int:
        """Neurons times values: candidates and controls."""
        last = min(2, shape.n_layers) * shape.d_mlp
        return len(FIXED_AT) * (round(HELD_SHARE * last) + min(CONTROLS, last))

    def _writing(self) -> Iterator[PhaseEstimate]:
        parts, neurons = self.settings.parts, sum(shape.n_neurons for shape in self.shapes)
        kept = neurons * sum(self._kept(part) for part in parts)
        moved = neurons * sum(ROWS[part] for part in parts)
        wide = neurons * sum(WIDE.get(part, 0) for part in parts)
        made = self._of_all("vectors") if "redundancy" in parts else 0.0
        rates = self.rates
        staged = None
        if rates is not None and made is not None:
            staged = (kept + moved + wide) * ROWS_MADE * rates.copied + made
        yield PhaseEstimate("stage", staged)
        yield PhaseEstimate("merge", max(1, len(self.shapes) - 1) * neurons * MERGED)
        yield PhaseEstimate("index", None if rates is None else 0.01 + kept * rates.moved)
        work = ROW_PUBLISHED * moved + ROW_ATTACHED * kept
        yield PhaseEstimate("publish", None if rates is None else PUBLISHED + work * rates.moved)

    def _kept(self, part: str) -> int:
        """Rows per neuron that stay in the table in which they were staged."""
        if part == "correlations":
            return (len(self.shapes) - 1) * (self.settings.top_k + 1)
        return self.n_subsets if part == "distributions" else OF_PARTITIONS.get(part, 0)


def together(phases: Sequence[PhaseEstimate]) -> float:
    """Seconds of all phases that are known."""
    return sum(phase.seconds or 0.0 for phase in phases)


def _sum(seconds: Sequence[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return sum(known) if len(known) == len(seconds) else None
