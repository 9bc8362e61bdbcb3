"""`catalog intervene`: holds any neurons of a published model, on the corpus of its run, and keeps what comes of it there."""

from catalog.answers import Rows
from catalog.errors import InputError
from catalog.publishing import asked_rows
from catalog.questions import asked
from ingest.asked.inputs import read_again
from ingest.asked.settings import InterveneSettings, published_model
from ingest.checkpoints.undefined import no_direct_effects
from ingest.device import describe
from ingest.identity import code_version
from ingest.parts import phase_name
from ingest.parts.entropy import Interventions, Measured, hold, intervention_columns
from ingest.progress import Progress


def intervene(settings: InterveneSettings, progress: Progress) -> Rows:
    """Measure, store and read back: one row per set of neurons and change; see `catalog.questions.asked.interventions`.

    Raises:
        InputError: a value that is not finite, a model or corpus that cannot be read any more, or too few tokens.
        NotFoundError: no such model, run or neuron; or a run without a corpus.
    """
    with published_model(settings) as (engine, of_run):
        held = settings.held(of_run)
        wanted = settings.interventions()
        ground = read_again(settings, of_run, progress)
        reason = no_direct_effects(ground.checkpoints[0])
        if reason is not None:
            raise InputError(f"interventions are not defined for {ground.checkpoints[0].name}, because {reason}.")
        progress.phase(phase_name(Interventions.name, ground.checkpoints[0].name), ground.n_tokens_read, "tokens")
        n, effects = len(wanted), hold(0, wanted, ground, progress.advance)
        measured = Measured(wanted, ["asked"] * n, [-1] * n, effects, ground.n_rows_read)
        tables = intervention_columns(measured, of_run.neuron_ids, of_run.d_mlp)
        asked_rows.store(engine, of_run.run_id, tables, code_version(), describe(ground.device))
        with engine.connect() as connection:
            return asked.interventions(connection, of_run.run_id, held, settings.changes, ground.n_rows_read)
