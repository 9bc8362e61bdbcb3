"""Whether a published run has what an ingest asks for, and under which names it keeps the models."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from catalog import aliases
from catalog.aliases import KnownModel
from catalog.rows import Definition
from catalog.runs import life, reuse
from catalog.runs.controls import has_controls
from catalog.runs.life import RunRecord
from ingest.corpus.meta import first_rows_of
from ingest.identity import BOS, definitions_of, option_of, run_identity
from ingest.remembered.inputs import Asked
from ingest.settings import IngestReport, IngestSettings

if TYPE_CHECKING:
    from ingest.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class Recognised:
    """What is published of what an ingest asks for."""

    asked: Asked
    run: RunRecord | None
    """The run with these models, tokens and settings."""
    missing: tuple[str, ...]
    """Parts asked for that it lacks, or has by another definition; all of them without a run."""
    lacks_controls: bool
    """Controls of the parts asked for are to be measured, or measured again."""
    known: list[KnownModel | None]
    """The models as the run has them; without a run, those that were asked for by another name of theirs."""
    answer: tuple[int, str] | None
    """The run that has all that is asked for, and the sentence that says so."""

    def report(self, engine: Engine, started: float) -> IngestReport:
        """Say that nothing is left to compute.

        Args:
            started: by the monotonic clock.
        """
        assert self.answer is not None
        run_id, message = self.answer
        life.tidy(engine)
        life.leave_as_published(engine, run_id)
        refused = aliases.record(engine, self._other_names())
        return IngestReport(run_id, "already_published", False, time.monotonic() - started, "; ".join([message, *refused]))

    def rename(self, engine: Engine, checkpoints: Sequence["Checkpoint"]) -> list[str]:
        """Models that the catalog knows go by the names that it has for them; the other names are kept, or it is told why
        they cannot be."""
        told = aliases.record(engine, self._other_names())
        for model, checkpoint in zip(self.known, checkpoints, strict=True):
            if model is not None and (checkpoint.name, checkpoint.revision or "") != (model.name, model.revision):
                told.append(f"{checkpoint.name} is {model.shown} in the catalog")
                checkpoint.name, checkpoint.revision = model.name, model.revision or None
        return told

    def measured_again(self, settings: IngestSettings) -> list[str]:
        """What becomes of parts that the run has by another definition, a sentence each."""
        if self.run is None:
            return []
        wanted = definitions_of(self.missing, settings, self.asked.context, self.asked.start.with_bos)
        return [
            f"run {self.run.id}: {part} is measured again {_changed(self.run.parts[part], wanted[part], settings)}"
            for part in self.missing
            if part in self.run.parts
        ]

    def _other_names(self) -> dict[str, KnownModel]:
        return {shown: model for shown, model in _pairs(self.asked, self.known)}


def recognise(engine: Engine, settings: IngestSettings, asked: Asked) -> Recognised:
    """Look for a published run that has what is asked for, unless it is to be computed again."""
    known = [aliases.model_named(engine, model) for model in asked.models]
    nothing = Recognised(asked, None, settings.parts, settings.controls > 0 and bool(settings.controlled_parts), known, None)
    if settings.again:
        return nothing
    wanted = definitions_of(settings.parts, settings, asked.context, asked.start.with_bos)
    # a new run would hide what that run knows beside them
    of_weights = None if settings.needs_corpus else reuse.run_of_weights(engine, asked.models, wanted)
    if of_weights is not None:
        parts = ", ".join(settings.parts)
        return Recognised(asked, None, (), False, known, (of_weights, f"run {of_weights} has {parts} of these models already"))
    identities = [model.identity for model in asked.models]
    tokenizer, with_bos = asked.models[0].tokenizer_sha256, asked.start.with_bos
    identity = run_identity(identities, tokenizer, asked.token_sha256, settings, asked.context, with_bos)
    run = life.published_run(engine, identity)
    if run is None:
        return nothing
    by_identity = {model.identity: model for model in aliases.models_of_run(engine, run.id)}
    known = [by_identity.get(one) for one in identities]
    missing = tuple(part for part, definition in wanted.items() if run.parts.get(part) != definition)
    lacks_controls = _lacks_controls(engine, settings, asked, run.id)
    if missing or lacks_controls:
        return Recognised(asked, run, missing, lacks_controls, known, None)
    named = ", ".join(f"{shown} as {model.shown}" for shown, model in _pairs(asked, known))
    message = f"run {run.id} has it all{f' ({named})' if named else ''}, published {run.published_at:%Y-%m-%d %H:%M}"
    return Recognised(asked, run, (), False, known, (run.id, message))


def _lacks_controls(engine: Engine, settings: IngestSettings, asked: Asked, run_id: int) -> bool:
    """Whether a published run has fewer controls of the parts asked for than are asked for."""
    if asked.corpus is None or not settings.controls or not settings.controlled_parts:
        return False
    rows = first_rows_of(asked.corpus, settings.control_rows(asked.corpus.n_rows, asked.context))
    wanted = definitions_of(settings.controlled_parts, settings, asked.context, asked.start.with_bos)
    return not has_controls(engine, run_id, settings.controls, rows.token_sha256, wanted)


def _pairs(asked: Asked, known: list[KnownModel | None]) -> list[tuple[str, KnownModel]]:
    """Names that were asked for with the models that they stand for, where the catalog has other names for these."""
    return [
        (aliases.shown(model.name, model.revision), model_known)
        for model, model_known in zip(asked.models, known, strict=True)
        if model_known is not None and (model_known.name, model_known.revision) != (model.name, model.revision)
    ]


def _changed(before: Definition, now: Definition, settings: IngestSettings) -> str:
    """What a part is measured by, and was."""
    told = []
    if before.version != now.version:
        told.append(f"by definition {now.version} (was {before.version})")
    for name in dict.fromkeys([*now.settings, *before.settings]):
        value, was = now.settings.get(name), before.settings.get(name)
        if was != value:
            as_given = getattr(settings, name) if isinstance(value, str) and name != BOS else value
            told.append(f"with {option_of(name)} {_shown(as_given)} (was {_shown(was)})")
    return " and ".join(told)


def _shown(value: object) -> str:
    """A value of a setting; files are known by what they hold."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "not given"
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return f"a file with sha256 {value[:12]}"
    return "not given" if value is None else str(value)
