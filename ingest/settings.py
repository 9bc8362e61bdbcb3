"""What one ingest was asked to do, and what it answers."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from catalog import parts
from catalog.errors import InputError, did_you_mean
from catalog.settings import staging_folder
from ingest.corpus.bos import RowStart, check_mode
from ingest.corpus.files import UTF_8, CorpusSource, check_source
from ingest.corpus.syntax import DEFAULT_PIPELINE

JOBS_FOR_WORKERS = 8
"""Jobs that `--enqueue` makes if `--jobs` does not say otherwise."""

INTERVENTION_TOKENS = 100_000
"""Tokens, BOS included, on which neurons are held fixed and taken away if `--intervention-tokens` does not say otherwise."""

ABLATION_PAIRS = 10
"""Pairs of neuron and head of each sign that are ablated if `--ablation-pairs` does not say otherwise."""

SUBSTITUTION_TOKENS = 100_000
"""Tokens, BOS included, on which neurons are replaced by their matches if `--substitution-tokens` does not say otherwise."""

NGRAM_TOKENS = 5_000_000
"""Kept tokens whose n-grams are counted if `--ngram-tokens` does not say otherwise (VO 4.1)."""


LARGEST = 2**63 - 1
"""The largest whole number that a database, or a tensor, holds."""

PRECISIONS = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class IngestSettings:
    """The settings of `catalog ingest`. Those that change numbers are part of the run's identity, or concern some of its parts,
    which declare it (`catalog.parts.part.Part.settings`)."""

    models: tuple[str, ...]
    """Folders, GGUF files or hub names, each `[NAME=]LOCATION[@REVISION]`."""
    corpus: str | None = None
    model_family: str | None = None
    context: int | None = None
    """Tokens per row, BOS included; None: min(512, n_ctx)."""
    max_tokens: int | None = None
    """Tokens kept, BOS included, after the seeded shuffle of rows."""
    device: str = "auto"
    memory_gb: float | None = None
    """Budget of the accumulators in GiB; None: half of what is free."""
    precision: str = "fp32"
    seed: int = 0
    baseline_draws: int = 8
    controls: int = 1
    """Twins of the first model that are measured as controls, each in a run of its own; see `ingest.checkpoints.twins`."""
    control_tokens: int | None = None
    """Tokens of the corpus, the first rows, that a control reads; None: all of them."""
    control: int | None = None
    """Of the run of a control: which one it is, from 1. No option gives it."""
    top_k: int = 50
    only: tuple[str, ...] = ()
    again: bool = False
    batch_tokens: int = 4096
    text_column: str = "text"
    subset_column: str = "subset"
    split: str | None = None
    corpus_revision: str | None = None
    encoding: str = UTF_8
    """Of JSON Lines."""
    include: tuple[str, ...] = ()
    """Glob patterns of the files that are read of a folder; empty: all."""
    exclude: tuple[str, ...] = ()
    """Glob patterns of files that are not."""
    keep_eos: bool = False
    bos: str = "auto"
    """Whether rows begin with BOS: auto, always or never; see `ingest.corpus.bos`."""
    min_count: int = 75
    """Occurrences that a token needs to enter a neuron's list of top tokens (§3.3)."""
    ngram_tokens: int = NGRAM_TOKENS
    """Kept tokens, the first of the shuffled corpus, whose n-grams are counted (§12.3)."""
    spacy_model: str = DEFAULT_PIPELINE
    """The installed spaCy pipeline that annotates syntax, by package name or path."""
    syntax_subsets: tuple[str, ...] = ()
    """Subsets whose rows are annotated; empty: those that are English prose by their names."""
    intervention_tokens: int = INTERVENTION_TOKENS
    """Tokens, the first of the shuffled corpus, on which interventions, ablations and norms of heads are measured."""
    direction_tokens: int | None = None
    """Of these, on which candidates for entropy neurons are compared with other directions; None: all."""
    ablation_pairs: int = ABLATION_PAIRS
    """Pairs of neuron and head with the largest h, and with the smallest, whose path is ablated."""
    substitution_tokens: int = SUBSTITUTION_TOKENS
    """Tokens, the first of the shuffled corpus, on which neurons are replaced by their matches in other models."""
    substitution_neurons: int | None = None
    """Neurons of each model that are replaced, at most; None: all universal ones, and as many others."""
    topics: str | None = None
    """CSV file with the columns token_id and topic; None: the built-in topic model names them."""
    jobs: int | None = None
    """Jobs to cut the work into at least; None: as few as memory allows, or `JOBS_FOR_WORKERS` of them for workers."""
    enqueue: bool = False
    """Leave the jobs to workers."""
    staging: str | None = None
    """Folder of sums and checkpoints, which workers share; None: CATALOG_STAGING, or a folder of the catalog's home."""
    checkpoint_minutes: float = 5.0
    """A job that takes longer saves its sums so often."""
    database_url: str | None = None

    @property
    def at_least_jobs(self) -> int:
        return self.jobs or (JOBS_FOR_WORKERS if self.enqueue else 1)

    @property
    def staging_folder(self) -> Path:
        return Path(self.staging).expanduser().resolve() if self.staging else staging_folder()

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts asked for, in the order of `catalog.parts`."""
        wanted = {part for name in self.only for part in parts.groups().get(name, (name,))}
        return tuple(part for part in parts.names() if not wanted or part in wanted)

    @property
    def controlled_parts(self) -> tuple[str, ...]:
        """Those of the parts that controls are measured by."""
        return tuple(part for part in self.parts if part in parts.of_controls())

    def defined(self, start: RowStart) -> "IngestSettings":
        """With the parts alone that can be measured on such rows.

        Raises:
            InputError: none of them can.
        """
        known = start.defined(self.parts)
        return self if known == self.parts else replace(self, only=known)

    def of_control(self, number: int, model: str) -> "IngestSettings":
        """What is asked for of one control.

        Args:
            model: the argument that gives the model that it is a twin of.
        """
        return replace(self, models=(model,), only=self.controlled_parts, control=number)

    def control_rows(self, n_rows: int, context: int) -> int:
        """How many of the rows of a corpus a control reads."""
        return n_rows if self.control_tokens is None else min(n_rows, -(-self.control_tokens // context))

    @property
    def needs_corpus(self) -> bool:
        return not {*self.parts} <= {*parts.of_weights()}

    @property
    def corpus_source(self) -> CorpusSource | None:
        """Where the corpus is and how it is read; None without one."""
        if self.corpus is None:
            return None
        return CorpusSource(
            location=self.corpus,
            subset_column=self.subset_column,
            text_column=self.text_column,
            split=self.split,
            revision=self.corpus_revision,
            encoding=self.encoding,
            include=self.include,
            exclude=self.exclude,
        )

    def validate(self, corpus_needed: bool = True) -> None:
        """Args:
            corpus_needed: refuse parts that read a corpus without one.
        Raises:
            InputError: a setting is outside its range, or there is no such corpus; the sentence names value and range.
        """
        groups = parts.groups()
        unknown = [part for part in self.only if part not in (*parts.names(), *groups)]
        if unknown:
            nearest = did_you_mean(unknown[0], (*parts.names(), *groups))
            raise InputError(
                f"--only {unknown[0]!r} is no part of a run{nearest}; choose from {', '.join(parts.names())}, or "
                f"{', '.join(groups)}."
            )
        check_device_name(self.device)
        check_precision_name(self.precision, self.device)
        check_mode(self.bos)
        self._check_ranges()
        source = self.corpus_source
        if self.needs_corpus and source is not None:
            check_source(source)
        if self.needs_corpus and source is None and corpus_needed:
            raise InputError(
                f"--corpus is missing; give a file or a hub name, or --only {','.join(parts.of_weights())} to do without one."
            )

    def _check_ranges(self) -> None:
        for option, value, least in (
            ("--seed", self.seed, 0),
            ("--max-tokens", self.max_tokens, 1),
            ("--context", self.context, 2),
            ("--baseline-draws", self.baseline_draws, 1),
            ("--controls", self.controls, 0),
            ("--control-tokens", self.control_tokens, 1),
            ("--top-k", self.top_k, 1),
            ("--batch-tokens", self.batch_tokens, 1),
            ("--min-count", self.min_count, 1),
            ("--ngram-tokens", self.ngram_tokens, 1),
            ("--intervention-tokens", self.intervention_tokens, 1),
            ("--direction-tokens", self.direction_tokens, 1),
            ("--ablation-pairs", self.ablation_pairs, 1),
            ("--substitution-tokens", self.substitution_tokens, 1),
            ("--substitution-neurons", self.substitution_neurons, 2),
            ("--jobs", self.jobs, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"{option} {value} is too small; give {least} or more.")
            if value is not None and value > LARGEST:
                raise InputError(f"{option} {value} is too large; give {LARGEST} or less.")
        check_memory(self.memory_gb)
        check_interval("--checkpoint-minutes", self.checkpoint_minutes)


def check_device_name(name: str) -> None:
    """Whether a device may be called so; whether it is there is known to torch.

    Raises:
        InputError: it may not.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", name):
        raise InputError(f"--device {name!r} is no device; give auto, cpu or cuda:N.")


def check_precision_name(precision: str, device: str) -> None:
    """Raises:
    InputError: there is no such precision, or none on any such device.
    """
    if precision not in PRECISIONS:
        nearest = did_you_mean(precision, PRECISIONS)
        raise InputError(f"--precision {precision!r} is not offered{nearest}; choose from {', '.join(PRECISIONS)}.")
    if precision == "tf32" and device.startswith("cpu"):
        raise InputError("--precision tf32 needs --device cuda:N, because only CUDA devices have TF32 units.")


def check_memory(gib: float | None) -> None:
    """Raises:
    InputError: a budget that is not above 0, or not finite.
    """
    if gib is not None and not (math.isfinite(gib) and gib > 0):
        raise InputError(f"--memory {gib} is no budget; give a number of GiB above 0.")


def check_interval(option: str, value: float) -> None:
    """Raises:
    InputError: an interval that is not above 0, or not finite.
    """
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{option} {value} is no interval; give a number above 0.")


def recorded(settings: IngestSettings, models: list[str]) -> dict[str, Any]:
    """The settings as they are kept for those who read the same again: folders in full, no address of a database.

    Args:
        models: the models, each as NAME=LOCATION with its revision.
    """
    record = {**asdict(settings), "models": models, "staging": str(settings.staging_folder)}
    del record["database_url"]
    for name in ("corpus", "topics"):
        location = record[name]
        if location is not None and Path(location).exists():
            record[name] = str(Path(location).resolve())
    return record


def from_record(record: Mapping[str, Any]) -> IngestSettings:
    """The settings that `recorded` wrote; what another version of the code wrote, as far as this one knows it.

    Raises:
        InputError: they name no models.
    """
    known = {field.name: record[field.name] for field in fields(IngestSettings) if field.name in record}
    if "models" not in known:
        raise InputError("the run's record does not say from where its models were read; ingest them again.")
    for name in ("models", "only", "syntax_subsets", "include", "exclude"):
        if name in known:
            known[name] = tuple(known[name])
    return IngestSettings(**known)


@dataclass(frozen=True)
class IngestReport:
    """What an ingest ended in."""

    run_id: int
    outcome: str
    """published, already_published, parts_added, controls_added or queued."""
    resumed: bool
    """Whether an earlier attempt at the same run had failed, was interrupted or was cancelled."""
    seconds: float
    message: str
    """One sentence for a person."""
