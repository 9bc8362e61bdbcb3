"""What every phase of an ingest takes, in the order in which the ingest reports them.

Phases that were rehearsed on a small model are scaled by the operations that they consist of; rows are counted and written at
the rates of the database. A phase of which nothing is known has None, never 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.parts import MEASURES
from ingest.parts.measure import Written
from ingest.parts.shapes import ModelShape
from ingest.preview.cost import JobEstimate
from ingest.preview.rehearsal import ROWS_OF_RUN, Rehearsal
from ingest.preview.write_rates import WriteRates
from ingest.settings import IngestSettings

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


@dataclass(frozen=True)
class PhaseEstimate:
    """One phase, or one of the jobs of a phase."""

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
    shapes: Sequence[ModelShape]
    n_subsets: int
    jobs: Sequence[JobEstimate]
    rehearsals: Sequence[Rehearsal | None]
    """One of each model; None where it could not be rehearsed."""
    reading: Reading
    rates: WriteRates | None

    def phases(self) -> Iterator[PhaseEstimate]:
        """All phases of the ingest on a catalog that knows nothing of it yet; of a control those that come after its run."""
        if self.settings.control is None:
            yield from self._reading()
        for job in self.jobs:
            yield PhaseEstimate(job.phase, job.seconds, job.tokens, job)
        yield from self._writing()

    def _reading(self) -> Iterator[PhaseEstimate]:
        parts = {*self.settings.parts}
        yield PhaseEstimate("load", self._of_all("load"))
        if self.settings.needs_corpus:
            yield PhaseEstimate("tokenise", self.reading.tokenise)
        yield PhaseEstimate("check weights", self._of_all("check weights"))
        if "topics" in parts and self.settings.topics is None:
            yield PhaseEstimate("find topics", self.reading.topics)
        if "syntax" in parts:
            yield PhaseEstimate("annotate syntax", self.reading.syntax)

    def _of_all(self, phase: str) -> float | None:
        return _sum([self._scaled(phase, model) for model in range(len(self.shapes))])

    def _scaled(self, phase: str, model: int) -> float | None:
        """Seconds of a phase of one model."""
        rehearsal = self.rehearsals[model]
        if rehearsal is None or phase not in rehearsal.seconds:
            return None
        return rehearsal.seconds[phase] * _work(phase, self.shapes[model]) / _work(phase, rehearsal.shape)

    def _writing(self) -> Iterator[PhaseEstimate]:
        neurons, written = sum(shape.n_neurons for shape in self.shapes), self._written
        kept, moved, wide = (neurons * sum(getattr(table, name) for table in written) for name in ("kept", "moved", "wide"))
        computed = any(m.computes_rows_of_run for m in MEASURES if m.part in self.settings.parts)
        made, rates = self._of_all(ROWS_OF_RUN) if computed else 0.0, self.rates
        staged = None
        if rates is not None and made is not None:
            staged = (kept + moved + wide) * ROWS_MADE * rates.copied + made
        yield PhaseEstimate("stage", staged)
        yield PhaseEstimate("merge", max(1, len(self.shapes) - 1) * neurons * MERGED)
        yield PhaseEstimate("index", None if rates is None else 0.01 + kept * rates.moved)
        work = ROW_PUBLISHED * moved + ROW_ATTACHED * kept
        yield PhaseEstimate("publish", None if rates is None else PUBLISHED + work * rates.moved)

    @property
    def _written(self) -> list[Written]:
        """Rows per neuron of each measure."""
        asked = (len(self.shapes), self.n_subsets, self.settings.top_k)
        return [measure.written(*asked) for measure in MEASURES if measure.part in self.settings.parts]


def _work(phase: str, shape: ModelShape) -> float:
    """What a phase is proportional to."""
    if phase == ROWS_OF_RUN:
        return shape.n_neurons * shape.d_model * shape.d_vocab
    return shape.n_layers * shape.block_weights + 2 * shape.d_vocab * shape.d_model


def together(phases: Sequence[PhaseEstimate]) -> float:
    """Seconds of all phases that are known."""
    return sum(phase.seconds or 0.0 for phase in phases)


def _sum(seconds: Sequence[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return sum(known) if len(known) == len(seconds) else None
