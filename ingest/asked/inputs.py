"""Measuring more of a published model: the model and the corpus of its run, read again, and found to be the same."""

from catalog.errors import InputError
from catalog.questions.published_model import ModelOfRun
from ingest.asked.settings import MeasureSettings, settings_again, unreadable
from ingest.checkpoints.behaviour import changed
from ingest.inputs import load_inputs
from ingest.jobs.context import ground_of
from ingest.parts.ground import Ground
from ingest.progress import Progress


def read_again(settings: MeasureSettings, of_run: ModelOfRun, progress: Progress) -> Ground:
    """The one model, its weights processed, and the corpus of the run.

    Raises:
        NotFoundError: the run read no corpus.
        InputError: they are not there any more, or not what they were.
    """
    run, as_read = f"run {of_run.run_id}", settings_again(settings, of_run)
    try:
        inputs = load_inputs(as_read, progress)
        inputs.start.defined(as_read.parts)
    except (InputError, OSError) as error:
        raise unreadable(of_run, error) from None
    if inputs.identities != [of_run.identity]:
        what = changed(inputs.checkpoints[0].identity, of_run.weights_sha256, of_run.behaviour)
        raise InputError(f"{of_run.model} is not the model that {run} read ({what}); ingest it again under another name.")
    if inputs.corpus is None or inputs.corpus.token_sha256 != of_run.token_sha256:
        raise InputError(f"the corpus gives other tokens than those that {run} read; ingest the model again.")
    inputs.checkpoints[0].process(inputs.tokenizer.n_tokens)
    return ground_of(as_read, inputs, None, lambda name: [], (settings.part,))
