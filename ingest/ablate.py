"""`catalog ablate`: takes one neuron of a published model from the queries of heads, on the corpus of its run (SPEC §9.3)."""

from dataclasses import dataclass

from catalog import asked, later
from catalog.answers import Rows
from catalog.errors import InputError
from catalog.published_model import ModelOfRun
from ingest.identity import code_version
from ingest.progress import Progress
from ingest.published_inputs import MeasureSettings, published_model, read_again
from ingest.role_results import ablation_columns
from ingest.roles.heads import Pair, check_pair

PART = "ablations"


@dataclass(frozen=True, kw_only=True)
class AblateSettings(MeasureSettings):
    """What was asked."""

    neuron: tuple[int, int]
    """Layer and index."""
    heads: tuple[tuple[int, int], ...]
    """Layers and heads, of later layers than the neuron's."""


def ablate(settings: AblateSettings, progress: Progress) -> Rows:
    """Measure, store and read back: one row per head; see `catalog.asked.ablations`.

    Raises:
        InputError: no head, one that the neuron's output does not reach, a model or corpus that cannot be read any more, or
            too few tokens.
        NotFoundError: no such model, run, neuron or head; or a run without a corpus.
    """
    with published_model(settings) as (engine, of_run):
        neuron_id, pairs = of_run.neuron_id(*settings.neuron), _pairs(settings, of_run)
        work = read_again(settings, of_run, PART, progress)
        (checkpoint,) = work.inputs.checkpoints
        for pair in pairs:
            _check(of_run, pair, checkpoint.parallel_attention)
        found = work.ablate(checkpoint, pairs, progress)
        tables = ablation_columns(found, of_run.neuron_ids, of_run.d_mlp, work.n_rows, "asked")
        later.store(engine, of_run.run_id, tables, code_version(), work.inputs.device_description)
        with engine.connect() as connection:
            return asked.ablations(connection, of_run.run_id, neuron_id, settings.heads, work.n_rows)


def _pairs(settings: AblateSettings, of_run: ModelOfRun) -> list[Pair]:
    """Each pair once, as far as the catalog can tell that there is one."""
    if not settings.heads:
        raise InputError("no head is given; name one or more of a later layer than the neuron's.")
    pairs = [Pair(*settings.neuron, *head) for head in dict.fromkeys(settings.heads)]
    for pair in pairs:
        of_run.check_head(pair.head_layer, pair.head)
        # why the heads of a NeoX layer are out of reach stands in the model's configuration, which is read later
        if of_run.architecture != "gpt_neox" or pair.layer == of_run.n_layers - 1:
            _check(of_run, pair, parallel=False)
    return pairs


def _check(of_run: ModelOfRun, pair: Pair, parallel: bool) -> None:
    try:
        check_pair(of_run.n_layers, of_run.d_mlp, of_run.n_heads, pair, parallel)
    except ValueError as error:
        raise InputError(f"{of_run.model}: {error}") from None
