"""Topics: sets of tokens that occur in the same rows of a corpus, from a file or from a topic model (SPEC §5.10).

The model: a truncated SVD of the rows × tokens matrix of positive pointwise mutual information of log(1 + count). Each
component is turned so that its loadings are skewed upwards; the tokens whose loading is more than four standard deviations
above the mean are its topic, named by its strongest tokens.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import svds

from ingest.features.unigrams import normal_form
from ingest.features.vocabulary import FeatureTable

COMPONENTS = 100
LEAST_ROWS = 10
"""Rows that a token must be in: of rarer ones the mutual information is chance."""
LOADING = 4.0
"""Standard deviations above the mean."""
LEAST_TOKENS = 3
"""Fewer tokens are no topic."""
NAMING_TOKENS = 3
LONGEST_NAME = 60
BY_FILE, BY_MACHINE = "topic", "machine_topic"
"""Families of features: named in a file, named by their tokens."""


class Topic(NamedTuple):
    """A named set of tokens."""

    name: str
    token_ids: tuple[int, ...]
    """Ascending; no array, so that plans can be compared."""


class Topics(NamedTuple):
    """The topics of a run."""

    family: str
    """Of their features: `BY_FILE` or `BY_MACHINE`."""
    topics: list[Topic]


def topic_model(counts: csr_array, strings: Sequence[str]) -> list[Topic]:
    """The topics of a corpus, in order of their components' singular values; none where rows or tokens are too few.

    Args:
        counts: (rows, tokens) of kept positions.
        strings: text of each token id, by which topics are named.
    """
    matrix, ids = association(counts)
    topics: dict[tuple[int, ...], Topic] = {}
    for loadings in components(matrix):
        limit = loadings.mean() + LOADING * loadings.std()
        chosen = np.flatnonzero(loadings > limit)
        if len(chosen) >= LEAST_TOKENS:
            strongest = ids[chosen[np.argsort(-loadings[chosen], kind="stable")]]
            ascending = tuple(np.sort(ids[chosen]).tolist())
            topics.setdefault(ascending, Topic(_name([strings[i] for i in strongest]), ascending))
    return list(topics.values())


def association(counts: csr_array) -> tuple[csr_array, Int[np.ndarray, " tokens"]]:
    """max(0, log(p(row, token) / (p(row) p(token)))) of log(1 + count), for tokens in enough rows; and their ids."""
    columns = counts.tocsc()
    ids = np.flatnonzero(np.diff(columns.indptr) >= LEAST_ROWS)
    weights = csr_array(columns[:, ids]).astype(np.float64)
    weights.data = np.log1p(weights.data)
    entries = weights.tocoo()
    of_row, of_token = (np.asarray(weights.sum(axis=axis)).ravel() for axis in (1, 0))
    row, token = entries.coords
    ratio = entries.data * weights.sum() / (of_row[row] * of_token[token])
    information = coo_array((np.maximum(np.log(ratio), 0), (row, token)), shape=weights.shape).tocsr()
    information.eliminate_zeros()
    return information, ids


def components(matrix: csr_array) -> Float64[np.ndarray, "components tokens"]:
    """Right singular vectors, the largest singular value first, each turned so that the sum of its cubes is not negative."""
    n = min(COMPONENTS, min(matrix.shape) - 1)
    if n < 1 or not matrix.nnz:
        return np.empty((0, matrix.shape[1]))
    # the start fixes what would be drawn at random
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    _, values, vectors = svds(matrix, k=n, v0=start)
    vectors = vectors[np.argsort(-values, kind="stable")]
    return vectors * np.where((vectors**3).sum(axis=1) < 0, -1.0, 1.0)[:, None]


def _name(strings: Sequence[str]) -> str:
    """The strongest different words, joined by a plus."""
    forms = dict.fromkeys(normal_form(text) or repr(text)[1:-1] for text in strings)
    return "+".join(list(forms)[:NAMING_TOKENS])[:LONGEST_NAME]


def topic_features(named: Topics, n_tokens: int) -> FeatureTable:
    """Topics as features, by name `topic_<name>#<digest of their tokens>`: of other tokens it is another feature."""
    family, topics = named
    matrix = np.zeros((len(topics), n_tokens), dtype=bool)
    names = []
    for row, topic in zip(matrix, topics, strict=True):
        row[list(topic.token_ids)] = True
        digest = hashlib.sha256(f"{family} {n_tokens} {list(topic.token_ids)}".encode()).hexdigest()
        names.append(f"topic_{topic.name}#{digest[:8]}")
    how = "named in a file" if family == BY_FILE else "found by the topic model, named by its strongest tokens"
    definitions = [f"one of {len(topic.token_ids)} tokens of the topic {topic.name!r}, {how}" for topic in topics]
    return FeatureTable(names, [family] * len(topics), definitions, matrix)
