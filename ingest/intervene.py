"""`catalog intervene`: holds any neurons of a published model, on the corpus of its run, and keeps what comes of it there."""

from dataclasses import dataclass, replace

import pandas as pd
from sqlalchemy import Engine

from catalog import interventions as stored
from catalog.engine import check_schema, writer_engine
from catalog.errors import InputError, NotFoundError
from catalog.interventions import ModelOfRun
from ingest.identity import code_version
from ingest.prepare import Inputs, load_inputs
from ingest.progress import Progress
from ingest.role_results import intervention_columns
from ingest.role_work import RoleWork
from ingest.roles.interventions import Intervention, Kind
from ingest.settings import INTERVENTION_TOKENS, IngestSettings, from_record

PART = "entropy"


@dataclass(frozen=True)
class InterveneSettings:
    """What was asked."""

    model: str
    neurons: tuple[tuple[tuple[int, int], ...], ...]
    """Sets of (layer, index); those of a set are held together."""
    changes: tuple[tuple[Kind, float], ...]
    """Kinds of intervention with their values, 0 for kinds without one."""
    tokens: int = INTERVENTION_TOKENS
    run: int | None = None
    device: str = "auto"
    batch_tokens: int = 4096
    database_url: str | None = None


def intervene(settings: InterveneSettings, progress: Progress) -> pd.DataFrame:
    """Measure, store and read back: one row per set of neurons and change; see `catalog.interventions.shown`.

    Raises:
        InputError: a value that is not finite, a model or corpus that cannot be read any more, or too few tokens.
        NotFoundError: no such model, run or neuron; or a run without a corpus.
    """
    if settings.tokens < 1:
        raise InputError(f"--tokens {settings.tokens} is too small; give 1 or more.")
    engine = writer_engine(settings.database_url)
    try:
        check_schema(engine)
        of_run = stored.model_of_run(engine, settings.model, settings.run)
        asked = _interventions(settings, of_run)
        if of_run.token_sha256 is None:
            raise stored.no_corpus(of_run.run_id, settings.model)
        return _measure(engine, settings, of_run, asked, progress)
    finally:
        engine.dispose()


def _interventions(settings: InterveneSettings, of_run: ModelOfRun) -> list[Intervention]:
    for layer, index in (neuron for held in settings.neurons for neuron in held):
        if layer >= of_run.n_layers or index >= of_run.d_mlp:
            raise NotFoundError(
                f"{settings.model} has no neuron {layer}.{index}; its layers are 0 to {of_run.n_layers - 1}, its neurons 0 to "
                f"{of_run.d_mlp - 1}."
            )
    try:
        made = [Intervention(kind, held, value) for held in settings.neurons for kind, value in settings.changes]
    except ValueError as error:
        raise InputError(str(error)) from None
    return list(dict.fromkeys(made))


def _measure(
    engine: Engine, settings: InterveneSettings, of_run: ModelOfRun, asked: list[Intervention], progress: Progress
) -> pd.DataFrame:
    as_read, inputs = _inputs(settings, of_run, progress)
    work = RoleWork(as_read, inputs, (PART,))
    inputs.checkpoints[0].process(inputs.tokenizer.n_tokens)
    try:
        measured = work.measure(inputs.checkpoints[0], asked, ["asked"] * len(asked), [-1] * len(asked), progress)
    except ValueError as error:
        raise InputError(f"{settings.model}: {error}") from error
    for _, columns in intervention_columns(measured, of_run.neuron_ids, of_run.d_mlp):
        stored.store(engine, of_run.run_id, columns, code_version(), inputs.device_description)
    held = []
    for neurons in settings.neurons:
        (layer, index), *others = sorted(neurons)
        held.append((int(of_run.neuron_ids[layer * of_run.d_mlp + index]), ",".join(f"{i}.{j}" for i, j in others)))
    with engine.connect() as connection:
        return stored.shown(connection, of_run.run_id, held, settings.changes, measured.n_rows)


def _inputs(settings: InterveneSettings, of_run: ModelOfRun, progress: Progress) -> tuple[IngestSettings, Inputs]:
    """The one model and the corpus of the run, read again.

    Raises:
        InputError: they are not there any more, or not what they were.
    """
    record = from_record(of_run.settings.get("ingest", of_run.settings))
    revision = f"@{of_run.revision}" if of_run.revision else ""
    (model,) = [given for given in record.models if given.startswith(f"{of_run.name}=") and given.endswith(revision)][:1] or (
        of_run.name,
    )
    as_read = replace(
        record, models=(model,), only=(PART,), device=settings.device, batch_tokens=settings.batch_tokens,
        intervention_tokens=settings.tokens, context=of_run.settings.get("context", record.context), precision="fp32",
        database_url=None,
    )  # fmt: skip
    try:
        inputs = load_inputs(as_read, progress)
    except (InputError, OSError) as error:
        raise InputError(f"run {of_run.run_id} cannot be read again, because {str(error).strip().rstrip('.')}.") from None
    if inputs.weights != [of_run.weights_sha256]:
        raise InputError(
            f"the weights of {settings.model} are not those that run {of_run.run_id} read; ingest the model again."
        )
    if inputs.corpus is None or inputs.corpus.token_sha256 != of_run.token_sha256:
        raise InputError(f"the corpus gives other tokens than those that run {of_run.run_id} read; ingest the model again.")
    return as_read, inputs
