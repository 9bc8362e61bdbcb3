"""What was asked of a published model, and whether the catalog has it: known before torch is imported."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

from sqlalchemy import Engine

from catalog.errors import InputError, NotFoundError
from catalog.questions.published_model import ModelOfRun, model_of_run
from catalog.server.engine import check_schema, writer_engine
from ingest.checkpoints.first_looks import check_models
from ingest.first_checks import check_corpus
from ingest.roles.heads import Pair, check_pair
from ingest.roles.intervention import Change, Intervention
from ingest.settings import INTERVENTION_TOKENS, IngestSettings, check_device_name, from_record


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """Which model is measured, and on how much of its run's corpus."""

    part: ClassVar[str]
    """The part of a run whose results are like those wanted."""
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
        InputError: fewer tokens than one, or no device of such a name.
        """
        for option, value in (("--tokens", self.tokens), ("--batch-tokens", self.batch_tokens)):
            if value < 1:
                raise InputError(f"{option} {value} is too small; give 1 or more.")
        check_device_name(self.device)


@dataclass(frozen=True, kw_only=True)
class InterveneSettings(MeasureSettings):
    """Which neurons are held, and how."""

    part: ClassVar[str] = "entropy"
    neurons: tuple[tuple[tuple[int, int], ...], ...]
    """Sets of (layer, index); those of a set are held together."""
    changes: tuple[tuple[Change, float], ...]
    """Each with its value, 0 for those without one."""

    def interventions(self) -> list[Intervention]:
        """Each once.

        Raises:
            InputError: a value that is not finite, or a neuron that is twice in one set.
        """
        try:
            made = [Intervention(change, held, value) for held in self.neurons for change, value in self.changes]
        except ValueError as error:
            raise InputError(str(error)) from None
        return list(dict.fromkeys(made))

    def held(self, of_run: ModelOfRun) -> list[tuple[int, str]]:
        """Of each set the id of the first neuron, and the others as LAYER.INDEX with commas.

        Raises:
            NotFoundError: no such neuron.
        """
        return [_held(of_run, sorted(neurons)) for neurons in self.neurons]


@dataclass(frozen=True, kw_only=True)
class AblateSettings(MeasureSettings):
    """Which neuron is taken from which heads."""

    part: ClassVar[str] = "ablations"
    neuron: tuple[int, int]
    """Layer and index."""
    heads: tuple[tuple[int, int], ...]
    """Layers and heads, of later layers than the neuron's."""

    def pairs(self, of_run: ModelOfRun) -> list[Pair]:
        """Each pair once, as far as the catalog can tell that there is one.

        Raises:
            InputError: no head, or one that the neuron's output does not reach.
            NotFoundError: no such neuron or head.
        """
        _check_bos(of_run)
        if not self.heads:
            raise InputError("no head is given; name one or more of a later layer than the neuron's.")
        of_run.neuron_id(*self.neuron)
        pairs = [Pair(*self.neuron, *head) for head in dict.fromkeys(self.heads)]
        for pair in pairs:
            of_run.check_head(pair.head_layer, pair.head)
            # why the heads of a NeoX layer are out of reach stands in the model's configuration, which is read later
            if of_run.architecture != "gpt_neox" or pair.layer == of_run.n_layers - 1:
                check_reach(of_run, pair, parallel=False)
        return pairs


def check_asked(settings: InterveneSettings | AblateSettings) -> None:
    """All that the catalog and a look at files can tell.

    Raises:
        InputError: a setting outside its range, neurons or heads that cannot be asked for, or a model or corpus that is gone.
        NotFoundError: no such model, run, neuron or head; or a run without a corpus.
    """
    with published_model(settings) as (_, of_run):
        if isinstance(settings, InterveneSettings):
            settings.held(of_run)
            settings.interventions()
        else:
            settings.pairs(of_run)
        as_read = settings_again(settings, of_run)
        try:
            check_models(as_read.models, as_read.parts, as_read.context)
            check_corpus(as_read)
        except InputError as error:
            raise unreadable(of_run, error) from None


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


def settings_again(settings: MeasureSettings, of_run: ModelOfRun) -> IngestSettings:
    """The settings by which the one model and the corpus of its run are read again.

    Raises:
        NotFoundError: the run read no corpus.
    """
    if of_run.token_sha256 is None:
        newest = f", the newest with {of_run.model}," if settings.run is None else ""
        raise NotFoundError(
            f"run {of_run.run_id}{newest} read no corpus to measure on; ingest the model with --corpus, or name another run "
            "with --run."
        )
    record = from_record(of_run.settings["read_as"])
    revision = f"@{of_run.revision}" if of_run.revision else ""
    named = [each for each in record.models if each.startswith(f"{of_run.name}=") and each.endswith(revision)]
    model = named[0] if named else of_run.name
    return replace(
        record, models=(model,), only=(settings.part,), device=settings.device, batch_tokens=settings.batch_tokens,
        intervention_tokens=settings.tokens, context=of_run.settings.get("context", record.context), precision="fp32",
        database_url=None,
    )  # fmt: skip


def unreadable(of_run: ModelOfRun, error: Exception) -> InputError:
    """The one sentence for a model or corpus that is not there any more."""
    return InputError(f"run {of_run.run_id} cannot be read again, because {str(error).strip().rstrip('.')}.")


def check_reach(of_run: ModelOfRun, pair: Pair, parallel: bool) -> None:
    """Raises:
    InputError: the neuron's output does not reach the head.
    """
    try:
        check_pair(of_run.n_layers, of_run.d_mlp, of_run.n_heads, pair, parallel)
    except ValueError as error:
        raise InputError(f"{of_run.model}: {error}") from None


def _check_bos(of_run: ModelOfRun) -> None:
    """Raises:
    InputError: rows of the run begin without BOS, towards which heads turn.
    """
    bos = of_run.settings.get("bos", {})  # runs of before it could be otherwise say nothing
    if not bos.get("prepended", True):
        raise InputError(f"run {of_run.run_id} has no attention to BOS to measure: its rows begin without ({bos['reason']}).")


def _held(of_run: ModelOfRun, neurons: list[tuple[int, int]]) -> tuple[int, str]:
    ids = [of_run.neuron_id(*neuron) for neuron in neurons]
    return ids[0], ",".join(f"{layer}.{index}" for layer, index in neurons[1:])
