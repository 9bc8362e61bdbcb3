"""`catalog ablate`: takes one neuron of a published model from the queries of heads, on the corpus of its run (SPEC §9.3)."""

from catalog.answers import Rows
from catalog.errors import InputError
from catalog.publishing import asked_rows
from catalog.questions import asked
from ingest.asked.inputs import read_again
from ingest.asked.settings import AblateSettings, check_reach, published_model
from ingest.checkpoints.undefined import no_attention
from ingest.device import describe
from ingest.identity import code_version
from ingest.parts import phase_name
from ingest.parts.ablations import PathAblations, ablation_columns
from ingest.parts.ablations import ablate as ablate_pairs
from ingest.progress import Progress


def ablate(settings: AblateSettings, progress: Progress) -> Rows:
    """Measure, store and read back: one row per head; see `catalog.questions.asked.ablations`.

    Raises:
        InputError: no head, one that the neuron's output does not reach, a model or corpus that cannot be read any more, or
            too few tokens.
        NotFoundError: no such model, run, neuron or head; or a run without a corpus.
    """
    with published_model(settings) as (engine, of_run):
        neuron_id, pairs = of_run.neuron_id(*settings.neuron), settings.pairs(of_run)
        ground = read_again(settings, of_run, progress)
        (checkpoint,) = ground.checkpoints
        reason = no_attention(checkpoint, ground.context)
        if reason is not None:
            raise InputError(f"ablations are not defined for {checkpoint.name}, because {reason}.")
        for pair in pairs:
            check_reach(of_run, pair, checkpoint.parallel_attention)
        progress.phase(phase_name(PathAblations.name, checkpoint.name), ground.n_tokens_read, "tokens")
        ablations = ablate_pairs(0, pairs, ground, progress.advance)
        tables = ablation_columns(ablations, of_run.neuron_ids, of_run.d_mlp, ground.n_rows_read, "asked")
        asked_rows.store(engine, of_run.run_id, tables, code_version(), describe(ground.device))
        with engine.connect() as connection:
            return asked.ablations(connection, of_run.run_id, neuron_id, settings.heads, ground.n_rows_read)
