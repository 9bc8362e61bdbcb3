"""`catalog intervene`: holds any neurons of a published model, on the corpus of its run, and keeps what comes of it there."""

from catalog import asked, later
from catalog.answers import Rows
from ingest.identity import code_version
from ingest.measure_settings import InterveneSettings, published_model
from ingest.progress import Progress
from ingest.published_inputs import read_again
from ingest.role_results import intervention_columns
from ingest.role_work import check_final_norm


def intervene(settings: InterveneSettings, progress: Progress) -> Rows:
    """Measure, store and read back: one row per set of neurons and change; see `catalog.asked.interventions`.

    Raises:
        InputError: a value that is not finite, a model or corpus that cannot be read any more, or too few tokens.
        NotFoundError: no such model, run or neuron; or a run without a corpus.
    """
    with published_model(settings) as (engine, of_run):
        held = settings.held(of_run)
        wanted = settings.interventions()
        work = read_again(settings, of_run, progress)
        check_final_norm(work.inputs.checkpoints[0])
        n = len(wanted)
        measured = work.measure(work.inputs.checkpoints[0], wanted, ["asked"] * n, [-1] * n, progress)
        tables = intervention_columns(measured, of_run.neuron_ids, of_run.d_mlp)
        later.store(engine, of_run.run_id, tables, code_version(), work.inputs.device_description)
        with engine.connect() as connection:
            return asked.interventions(connection, of_run.run_id, held, settings.changes, work.n_rows)
