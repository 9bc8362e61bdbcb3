"""Measuring more of a published model: the model and the corpus of its run, read again, and found to be the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from catalog.engine import check_schema, writer_engine
from catalog.errors import InputError, NotFoundError
from catalog.published_model import ModelOfRun, model_of_run
from ingest.behaviour import changed
from ingest.device import resolve_device
from ingest.prepare import load_inputs
from ingest.progress import Progress
from ingest.role_work import RoleWork
from ingest.settings import INTERVENTION_TOKENS, from_record


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """Which model is measured, and on how much of its run's corpus."""

    model: str
    tokens: int = INTERVENTION_TOKENS
    """BOS included; the first ones of the shuffled corpus, in whole rows."""
    run: int | None = None
    """None: the newest published one with the model."""
    device: str = "auto"
    batch_tokens: int = 4096
    database_url: str | None = None

    def validate(self) -> None:
        """Raises:
        InputError: fewer tokens than one, or no such device.
        """
        for option, value in (("--tokens", self.tokens), ("--batch-tokens", self.batch_tokens)):
            if value < 1:
                raise InputError(f"{option} {value} is too small; give 1 or more.")
        resolve_device(self.device)


@contextmanager
def published_model(settings: MeasureSettings) -> Iterator[tuple[Engine, ModelOfRun]]:
    """The database, and the model as it has it.

    Raises:
        InputError: a setting is outside its range.
        NotFoundError: no such model or run.
    """
    settings.validate()
    engine = writer_engine(settings.database_url)
    try:
        check_schema(engine)
        yield engine, model_of_run(engine, settings.model, settings.run)
    finally:
        engine.dispose()


def read_again(settings: MeasureSettings, of_run: ModelOfRun, part: str, progress: Progress) -> RoleWork:
    """The one model, its weights processed, and the corpus of the run.

    Args:
        part: the part of a run whose results are like those wanted.
    Raises:
        NotFoundError: the run read no corpus.
        InputError: they are not there any more, or not what they were.
    """
    run = f"run {of_run.run_id}"
    if of_run.token_sha256 is None:
        newest = f", the newest with {of_run.model}," if settings.run is None else ""
        raise NotFoundError(
            f"{run}{newest} read no corpus to measure on; ingest the model with --corpus, or name another run with --run."
        )
    record = from_record(of_run.settings.get("ingest", of_run.settings))
    revision = f"@{of_run.revision}" if of_run.revision else ""
    (model,) = [given for given in record.models if given.startswith(f"{of_run.name}=") and given.endswith(revision)][:1] or (
        of_run.name,
    )
    as_read = replace(
        record, models=(model,), only=(part,), device=settings.device, batch_tokens=settings.batch_tokens,
        intervention_tokens=settings.tokens, context=of_run.settings.get("context", record.context), precision="fp32",
        database_url=None,
    )  # fmt: skip
    try:
        inputs = load_inputs(as_read, progress)
    except (InputError, OSError) as error:
        raise InputError(f"{run} cannot be read again, because {str(error).strip().rstrip('.')}.") from None
    if inputs.identities != [of_run.identity]:
        what = changed(inputs.checkpoints[0].identity, of_run.weights_sha256, of_run.behaviour)
        raise InputError(f"{of_run.model} is not the model that {run} read ({what}); ingest it again under another name.")
    if inputs.corpus is None or inputs.corpus.token_sha256 != of_run.token_sha256:
        raise InputError(f"the corpus gives other tokens than those that {run} read; ingest the model again.")
    inputs.checkpoints[0].process(inputs.tokenizer.n_tokens)
    return RoleWork(as_read, inputs, (part,))
