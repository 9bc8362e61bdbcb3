"""What parts stand on together: each thing is made once, when it is first asked for, and serves all that follow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from ingest.checkpoints.checkpoint import Checkpoint
from ingest.checkpoints.output_weights import OutputWeights
from ingest.corpus.bos import row_start
from ingest.corpus.counts import kept_windows
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenizer import TokenizerInfo
from ingest.features.of_corpus import CorpusFeatures
from ingest.parts.arrays import SHARE, Arrays, decode, decode_pivots
from ingest.parts.moments import ModelMoments, merged_moments
from ingest.parts.partners import Partners, partners_of
from ingest.roles.attention import rows_needed
from ingest.settings import IngestSettings
from ingest.statistics.ngrams import NgramIndex, index_ngrams

ORDERS = (1, 2, 3)
"""Lengths of the n-grams."""
T = TypeVar("T")


class CorpusNgrams:
    """The n-grams of a corpus."""

    def __init__(self, corpus: TokenCorpus) -> None:
        self._corpus = corpus
        self._indices: dict[int, tuple[NgramIndex, ...]] = {}

    def __call__(self, most_tokens: int) -> tuple[NgramIndex, ...]:
        """Those of each length that end at one of the first `most_tokens` kept tokens."""
        if most_tokens not in self._indices:
            windows = kept_windows(self._corpus, most_tokens)
            self._indices[most_tokens] = tuple(index_ngrams(windows, n) for n in ORDERS)
        return self._indices[most_tokens]


@dataclass
class Ground:
    """Models, corpus and settings of a run, what its jobs found, and what follows from them."""

    checkpoints: list[Checkpoint]
    tokenizer: TokenizerInfo
    context: int
    """Tokens of a row."""
    settings: IngestSettings
    device: torch.device
    memory_bytes: int
    """What a measure may work in."""
    corpus_read: TokenCorpus | None
    features_found: CorpusFeatures | None
    results: Callable[[str], list[bytes]]
    """What finished jobs found under a name, which may end in %, in order of jobs."""
    whole_corpus: TokenCorpus | None = None
    """Of a control: the corpus of which it reads the first rows."""
    own_moments: Mapping[int, ModelMoments] = field(default_factory=dict)
    """Of models whose moments over all rows are at hand."""
    needed: frozenset[str] = frozenset()
    """What measures of the parts at hand need of others."""
    known_partners: Callable[[int, int], Partners] | None = None
    """Of pairs of models that this run does not compute."""
    _moments: dict[int, ModelMoments] = field(init=False, default_factory=dict)
    _held: dict[str, tuple[int, Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.corpus_read is not None:
            self.ngrams = CorpusNgrams(self.corpus_read)

    @property
    def corpus(self) -> TokenCorpus:
        """Of a run that reads one."""
        assert self.corpus_read is not None
        return self.corpus_read

    @property
    def bos_id(self) -> int | None:
        """What every row begins with; None: rows begin with text."""
        return row_start(self.settings.bos, self.tokenizer.bos).bos_id

    @property
    def describing_corpus(self) -> TokenCorpus:
        """The rows that decide which features there are: those of a control are the features of other runs."""
        return self.whole_corpus or self.corpus

    @property
    def features(self) -> CorpusFeatures:
        """Of the corpus, where one is read."""
        assert self.features_found is not None
        return self.features_found

    def moments(self, model: int) -> ModelMoments:
        """Moments over all rows."""
        if model in self.own_moments:
            return self.own_moments[model]
        if model not in self._moments:
            pivots = decode_pivots(self.results(f"pivots:{model}")[0], self.device)
            self._moments[model] = merged_moments(pivots, self.results(f"moments:{model}"))
        return self._moments[model]

    def output_weights(self, model: int, neurons: slice) -> OutputWeights:
        """What the neurons of whole layers write, and what the unembedding reads."""
        return OutputWeights(self.checkpoints[model], neurons, self.tokenizer.n_tokens)

    def processed(self, model: int) -> Checkpoint:
        """A model whose weights are folded and centred."""
        checkpoint = self.checkpoints[model]
        if not checkpoint.is_processed:
            checkpoint.process(self.tokenizer.n_tokens)
        return checkpoint

    def found(self, name: str, model: int) -> list[Arrays]:
        """What the shares of a measure found of a model, in their order."""
        shares = [decode(data) for data in self.results(f"{name}:{model}:%")]
        return sorted(shares, key=lambda arrays: int(arrays.pop(SHARE)))

    def partners(self, model: int, other: int) -> Partners:
        """The partners of a model's neurons in another model, by what was found of the pair."""
        tiles = self.results(f"tile:{min(model, other)}:{max(model, other)}:%")
        if tiles:
            return partners_of(tiles, self.settings.top_k, model < other, self.checkpoints[other].d_mlp)
        assert self.known_partners is not None
        return self.known_partners(model, other)

    def once(self, name: str, model: int, make: Callable[[int], T]) -> T:
        """What `make` gives of a model, under a name; of the model that was asked for last it is kept."""
        if name not in self._held or self._held[name][0] != model:
            self._held[name] = model, make(model)
        made: T = self._held[name][1]
        return made

    # --- the first rows of the corpus, on which neurons are held and taken from heads ---

    @property
    def n_rows_read(self) -> int:
        """How many rows these are."""
        return rows_needed(self.corpus, self.settings.intervention_tokens)

    @property
    def n_tokens_read(self) -> int:
        """Tokens of these rows."""
        return self.tokens_read(self.settings.intervention_tokens)

    def tokens_read(self, wanted: int) -> int:
        """Tokens of the first rows that hold as many as are wanted, BOS included."""
        return rows_needed(self.corpus, wanted) * self.context

    @property
    def reading(self) -> tuple[int, int, torch.device]:
        """How many tokens are wanted of the corpus, how many are read at a time, and where."""
        return self.settings.intervention_tokens, self.settings.batch_tokens, self.device
