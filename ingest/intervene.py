"""`catalog intervene`: holds any neurons of a published model, on the corpus of its run, and keeps what comes of it there."""

from dataclasses import dataclass

from catalog import asked, later
from catalog.answers import Rows
from catalog.errors import InputError
from catalog.published_model import ModelOfRun
from ingest.identity import code_version
from ingest.progress import Progress
from ingest.published_inputs import MeasureSettings, published_model, read_again
from ingest.role_results import intervention_columns
from ingest.role_work import check_final_norm
from ingest.roles.interventions import Intervention, Kind

PART = "entropy"


@dataclass(frozen=True, kw_only=True)
class InterveneSettings(MeasureSettings):
    """What was asked."""

    neurons: tuple[tuple[tuple[int, int], ...], ...]
    """Sets of (layer, index); those of a set are held together."""
    changes: tuple[tuple[Kind, float], ...]
    """Kinds of intervention with their values, 0 for kinds without one."""


def intervene(settings: InterveneSettings, progress: Progress) -> Rows:
    """Measure, store and read back: one row per set of neurons and change; see `catalog.asked.interventions`.

    Raises:
        InputError: a value that is not finite, a model or corpus that cannot be read any more, or too few tokens.
        NotFoundError: no such model, run or neuron; or a run without a corpus.
    """
    with published_model(settings) as (engine, of_run):
        held = [_held(of_run, neurons) for neurons in settings.neurons]
        wanted = _interventions(settings)
        work = read_again(settings, of_run, PART, progress)
        check_final_norm(work.inputs.checkpoints[0])
        n = len(wanted)
        measured = work.measure(work.inputs.checkpoints[0], wanted, ["asked"] * n, [-1] * n, progress)
        tables = intervention_columns(measured, of_run.neuron_ids, of_run.d_mlp)
        later.store(engine, of_run.run_id, tables, code_version(), work.inputs.device_description)
        with engine.connect() as connection:
            return asked.interventions(connection, of_run.run_id, held, settings.changes, work.n_rows)


def _held(of_run: ModelOfRun, neurons: tuple[tuple[int, int], ...]) -> tuple[int, str]:
    """The id of the first neuron, and the others as LAYER.INDEX with commas."""
    (first, *_), (_, *others) = [of_run.neuron_id(*neuron) for neuron in sorted(neurons)], sorted(neurons)
    return first, ",".join(f"{layer}.{index}" for layer, index in others)


def _interventions(settings: InterveneSettings) -> list[Intervention]:
    try:
        made = [Intervention(kind, held, value) for held in settings.neurons for kind, value in settings.changes]
    except ValueError as error:
        raise InputError(str(error)) from None
    return list(dict.fromkeys(made))
