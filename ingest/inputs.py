"""Opens what an ingest needs: checkpoints that belong together, the tokenised corpus, and the token features."""

from dataclasses import asdict, dataclass, replace

import torch
from transformers import PreTrainedTokenizerBase

from catalog.rows import ModelKey
from catalog.settings import home
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, check_family, open_checkpoint
from ingest.checkpoints.first_looks import context_length
from ingest.checkpoints.twins import twin_of
from ingest.corpus.bos import RowStart, agreed, row_start
from ingest.corpus.rows import TokenCorpus, first_rows
from ingest.corpus.syntax.annotate import check_installed
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import TokenizerInfo, tokenizer_identity
from ingest.corpus.told import sentences
from ingest.device import check_precision, describe, memory_budget, resolve_device
from ingest.progress import Progress
from ingest.remembered.inputs import NO_NEWLINE, Asked, facts_of, facts_of_corpus, read_corpus, read_model, told_of
from ingest.settings import IngestSettings

FEW_TOKENS = 50_000
"""Tokens below which products of rounded activations may err by more than 1e-4 (measured, docs/performance.md)."""


@dataclass(frozen=True)
class Inputs:
    """Everything that is read, nothing that is computed."""

    checkpoints: list[Checkpoint]
    tokenizer: TokenizerInfo
    corpus: TokenCorpus | None
    """None when weights alone are asked for."""
    context: int
    device: torch.device
    device_description: str
    memory_bytes: int
    start: RowStart
    """With what rows begin."""
    original: Checkpoint | None = None
    """Of a control: the model that it is a twin of."""
    whole_corpus: TokenCorpus | None = None
    """Of a control: the corpus of which it reads the first rows."""

    @property
    def describing_corpus(self) -> TokenCorpus | None:
        """The rows that decide which features there are: those of a control are the features of other runs."""
        return self.whole_corpus or self.corpus

    @property
    def opened(self) -> list[Checkpoint]:
        """The models as files have them."""
        return self.checkpoints if self.original is None else [self.original]

    @property
    def identities(self) -> list[str]:
        """sha256 over weights and behaviour of each model."""
        return [checkpoint.identity.sha256 for checkpoint in self.checkpoints]

    @property
    def arguments(self) -> list[str]:
        """The models as arguments that mean the same in any folder."""
        return [f"{c.name}={c.location}" for c in self.opened]

    def pair_key(self, a: int, b: int) -> tuple[str, str]:
        """What identifies a pair of models in the catalog: the smaller identity first."""
        first, second = sorted((self.identities[a], self.identities[b]))
        return first, second

    @property
    def model_keys(self) -> list[ModelKey]:
        """What identifies each model in the catalog."""
        return [ModelKey(c.identity.sha256, c.name, c.revision or "", self.tokenizer.sha256) for c in self.checkpoints]

    @property
    def asked(self) -> Asked:
        """What a run is recognised by; what there is to tell was told when they were read."""
        return Asked(self.model_keys, self.context, self.start, None if self.corpus is None else self.corpus.meta, [])


def load_inputs(settings: IngestSettings, progress: Progress) -> Inputs:
    """Open the checkpoints and tokenise the corpus, and remember what they hold.

    Raises:
        InputError: a model or corpus that cannot be used, or models that do not belong together.
    """
    if "syntax" in settings.parts:
        check_installed(settings.spacy_model)
    device = resolve_device(settings.device)
    check_precision(settings.precision, device)
    sources = [parse_model_argument(argument) for argument in settings.models]
    progress.phase("load", len(sources), "models")
    checkpoints, readings = [], []
    for source in sources:
        readings.append(read_model(source))
        checkpoints.append(open_checkpoint(source, device))
        progress.advance(1)
    tokenizers = [tokenizer_identity(checkpoint.tokenizer) for checkpoint in checkpoints]
    check_family(checkpoints, [info.sha256 for info in tokenizers])
    for reading, checkpoint, own in zip(readings, checkpoints, tokenizers, strict=True):
        if reading is not None:
            reading.remember(asdict(facts_of(checkpoint, own)))
    tokenizer = replace(tokenizers[0], bos=agreed(settings.bos, [info.bos for info in tokenizers]))
    if tokenizer.newline_id is None:
        progress.say(NO_NEWLINE)
    for checkpoint in checkpoints:
        for sentence in told_of(checkpoint.name, checkpoint.quantised):
            progress.say(sentence)
    start = row_start(settings.bos, tokenizer.bos)
    for sentence in start.told(settings.parts):
        progress.say(sentence)
    context = context_length(settings.context, [checkpoint.n_ctx for checkpoint in checkpoints])
    corpus = None
    if settings.needs_corpus:
        corpus = open_corpus(settings, tokenizer, checkpoints[0].tokenizer, context, progress)
    if settings.precision != "fp32" and corpus is not None and corpus.n_tokens < FEW_TOKENS:
        progress.say(
            f"{settings.precision} over only {corpus.n_tokens:,} tokens may err by more than 1e-4; its errors average out over "
            f"{FEW_TOKENS:,} or more."
        )
    inputs = Inputs(
        checkpoints=checkpoints,
        tokenizer=tokenizer,
        corpus=corpus,
        context=context,
        device=device,
        device_description=describe(device),
        memory_bytes=memory_budget(device, settings.memory_gb),
        start=start,
    )
    return inputs if settings.control is None else control_inputs(inputs, settings)


def control_inputs(inputs: Inputs, settings: IngestSettings) -> Inputs:
    """What a control reads.

    Args:
        inputs: whose first model it is a twin of.
        settings: those of the control.
    Raises:
        InputError: the model's weights cannot be folded.
    """
    original, corpus = inputs.checkpoints[0], inputs.corpus
    assert settings.control is not None and corpus is not None
    if not original.is_processed:
        original.process(inputs.tokenizer.n_tokens)
    return replace(
        inputs,
        checkpoints=[twin_of(original, settings.control)],
        corpus=first_rows(corpus, settings.control_rows(corpus.n_rows, inputs.context)),
        original=original,
        whole_corpus=corpus,
    )


def open_corpus(
    settings: IngestSettings, info: TokenizerInfo, tokenizer: PreTrainedTokenizerBase, context: int, progress: Progress
) -> TokenCorpus:
    """The corpus in rows of `context` tokens, from the cache or tokenised now; what is not read of it is told."""
    source = settings.corpus_source
    assert source is not None
    progress.phase("tokenise", None, "documents")
    reading = read_corpus(settings, info.sha256, context, row_start(settings.bos, info.bos).bos_id)
    corpus = tokenise(
        source,
        info,
        tokenizer,
        context=context,
        max_tokens=settings.max_tokens,
        seed=settings.seed,
        keep_eos=settings.keep_eos,
        cache_dir=home() / "corpora",
        progress=progress.advance,
        bos=settings.bos,
    )
    reading.remember(facts_of_corpus(corpus))
    for sentence in sentences(corpus.meta):
        progress.say(sentence)
    return corpus
