"""The yes-or-no features that explanations of one corpus may point to: of tokens, of topics, of syntax, of subsets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Bool

from catalog.rows import FeatureRow
from ingest.corpus.counts import TokenCounts, count_tokens
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.syntax.features import FEATURES
from ingest.corpus.tokenizer import TokenizerInfo
from ingest.features.divisions import Divisions, divide
from ingest.features.topics import BY_MACHINE, Topics, topic_features
from ingest.features.unigrams import LetterClasses, letter_classes, unigram_features
from ingest.features.vocabulary import FeatureTable, vocabulary_features

TOPIC_ORDINAL, SYNTAX_ORDINAL, SUBSET_ORDINAL = 5_000, 10_000, 20_000
"""Of equal scores what the token alone explains wins, then topics, syntax, and the subset."""

DIVISIONS = 600
"""Ways in which features of the current and of the previous token divide a corpus, about; where it has not been counted."""

SYNTAX_ROWS = tuple(
    FeatureRow(feature.name, feature.family, SYNTAX_ORDINAL + i, feature.definition) for i, feature in enumerate(FEATURES)
)


def vocabulary_of(tokenizer: TokenizerInfo) -> FeatureTable:
    """The features of tokens that need no corpus (SPEC §5.1 to §5.8), made once per vocabulary."""
    return _vocabulary(tuple(tokenizer.strings), tokenizer.unknown_ids)


@lru_cache(maxsize=2)
def _vocabulary(strings: tuple[str, ...], unknown_ids: frozenset[int]) -> FeatureTable:
    return vocabulary_features(list(strings), unknown_ids)


def vocabulary_rows(tokenizer: TokenizerInfo) -> Sequence[FeatureRow]:
    """The same as rows, in column order."""
    return table_rows(vocabulary_of(tokenizer), 0)


@dataclass(frozen=True)
class CorpusFeatures:
    """The features of a corpus; tables of tokens are made once, and only if asked for."""

    tokenizer: TokenizerInfo
    counts: TokenCounts
    subsets: Sequence[str]
    """Names, in the corpus's order; empty where it has none."""
    topics: FeatureTable
    """Of `ingest.features.topics`; empty where they are not asked for."""
    whole: TokenCounts | None = None
    """Counts of the corpus of which these are the first rows; its words have features."""

    @cached_property
    def tokens(self) -> FeatureTable:
        """The vocabulary features, then the unigram features of this corpus, in column order (§5)."""
        counts = self.whole or self.counts
        real = counts.current[: self.tokenizer.n_tokens]
        unigrams = unigram_features(self.tokenizer.strings, real, counts.n_kept, excluded_ids=self._excluded)
        return FeatureTable.concatenate([vocabulary_of(self.tokenizer), unigrams])

    @cached_property
    def divisions(self) -> tuple[Divisions, Divisions]:
        """How these features divide the kept positions by the current, and by the previous token."""
        counts = (self.counts.current, self.counts.previous)
        n_tokens = self.tokenizer.n_tokens
        current, previous = (divide(self.tokens.matrix, each[:n_tokens], self.counts.n_kept) for each in counts)
        return current, previous

    @property
    def n_divisions(self) -> int:
        """Of both."""
        return sum(len(made.matrix) for made in self.divisions)

    @cached_property
    def letters(self) -> LetterClasses:
        """Tokens by the letter that they begin with."""
        return letter_classes(self.tokenizer.strings, excluded_ids=self._excluded)

    @property
    def _excluded(self) -> frozenset[int]:
        """Ids of no text."""
        return self.tokenizer.masked_ids | self.tokenizer.unknown_ids

    @cached_property
    def token_rows(self) -> Sequence[FeatureRow]:
        return table_rows(self.tokens, 0)

    @cached_property
    def topic_rows(self) -> Sequence[FeatureRow]:
        return table_rows(self.topics, TOPIC_ORDINAL)

    @cached_property
    def subset_rows(self) -> Sequence[FeatureRow]:
        """One for each subset."""
        return tuple(
            FeatureRow(f"subset_{name}", "subset", SUBSET_ORDINAL + i, f"in the subset {name!r} of the corpus")
            for i, name in enumerate(self.subsets)
        )


def corpus_features(
    tokenizer: TokenizerInfo, corpus: TokenCorpus, d_vocab: int, topics: Topics | None, whole: TokenCorpus | None = None
) -> CorpusFeatures:
    """The features of a corpus, which is counted.

    Args:
        d_vocab: ids that the models embed, at most.
        whole: the corpus of which it is the first rows, if it is.
    """
    table = topic_features(topics or Topics(BY_MACHINE, []), tokenizer.n_tokens)
    of_whole = None if whole is None else count_tokens(whole, d_vocab)
    return CorpusFeatures(tokenizer, count_tokens(corpus, d_vocab), corpus.subset_names, table, of_whole)


class TokenTable:
    """Classes of tokens as a source of features of positions; see `ingest.corpus.batches.FeatureSource`."""

    def __init__(self, current: Bool[np.ndarray, "classes tokens"], previous: Bool[np.ndarray, "others tokens"]) -> None:
        """Args:
        current, previous: classes of the current token, and of the previous one.
        """
        # the last row is of no token
        self._of_token, self._of_previous = (
            np.concatenate([matrix.T, np.zeros((1, len(matrix)), dtype=bool)]) for matrix in (current, previous)
        )

    def of_kept(self, first_row: int, rows: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, None]:
        """Known everywhere."""
        previous = np.full_like(rows, -1)
        previous[:, 1:] = rows[:, :-1]
        return np.concatenate([self._of_token[rows[kept]], self._of_previous[previous[kept]]], axis=1), None


def table_rows(table: FeatureTable, first_ordinal: int) -> Sequence[FeatureRow]:
    """Features in column order."""
    columns = zip(table.names, table.families, table.definitions, strict=True)
    return tuple(FeatureRow(name, family, first_ordinal + i, words) for i, (name, family, words) in enumerate(columns))


def members(table: FeatureTable) -> Iterator[tuple[str, np.ndarray]]:
    """Name and int32 token ids of each feature."""
    for name, row in zip(table.names, table.matrix, strict=True):
        yield name, np.flatnonzero(row).astype(np.int32)
