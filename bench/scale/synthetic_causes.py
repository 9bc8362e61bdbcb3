"""What synthetic neurons are besides features of tokens: positions, BOS, subsets, n-grams; never active, or hardly ever.

Only neurons that have such a cause get rows, for a statistic that explains nothing gives no label. The rules of the
catalog make the labels from them, as they do of any run.
"""

import numpy as np

from bench.scale.synthetic import FAMILIES, FEATURES, SUBSETS, Family
from catalog.parts.positions import POSITION_PATTERNS

N_TOKENS = 99_000_000
Columns = dict[str, np.ndarray]


def rows_of_causes(family: Family, model: int, run: int, n_tokens: int) -> dict[str, Columns]:
    """Columns of each table, where `neuron` is the neuron's place in the model."""
    kind = family.kind[family.order(model)]
    generator = family.generator(11, model, run)

    def those(name: str) -> np.ndarray:
        return np.flatnonzero(kind == FAMILIES.index(name))

    tokens, trigrams = those("token_detector"), those("ngram_detector")
    return {
        "position_statistics": _positions(those("position"), generator),
        "distribution_statistics": _bos(those("bos"), generator),
        "subset_statistics": _subsets(those("context"), family.subtype[family.order(model)], generator),
        "ngram_statistics": _covers(tokens, trigrams),
        "detected_ngrams": _detected(tokens, trigrams, n_tokens, generator),
    }


def _positions(neurons: np.ndarray, generator: np.random.Generator) -> Columns:
    n = len(neurons)
    return {
        "neuron": neurons,
        "n_rows": np.full(n, 97_657, dtype=np.int32),
        "mutual_information": generator.uniform(0.06, 0.6, n),
        "mutual_information_se": np.full(n, 0.004),
        "pattern": generator.choice(np.array(POSITION_PATTERNS, dtype=object), n),
        "strength": generator.choice(np.array(["strong", "weak"], dtype=object), n),
        "alternations": generator.integers(0, 9, n).astype(np.int16),
        "coverage": generator.uniform(0.1, 1, n),
        "runs": _objects([[[1, 99, "high"], [100, 1023, "low"]]] * n),
    }


def _bos(neurons: np.ndarray, generator: np.random.Generator) -> Columns:
    ratio = generator.uniform(3.1, 60, len(neurons))
    return {"neuron": neurons, "bos_activation": ratio, "bos_ratio": ratio, "post_p99_9": np.ones(len(neurons))}


def _subsets(neurons: np.ndarray, subtype: np.ndarray, generator: np.random.Generator) -> Columns:
    n, names = len(neurons), np.array(SUBSETS, dtype=object)
    return {
        "neuron": neurons,
        "subset": names[subtype[neurons] - (len(FEATURES) - len(SUBSETS))],
        "n_tokens": np.full(n, N_TOKENS // len(SUBSETS), dtype=np.int64),
        "post_mean": np.ones(n),
        "variance_reduction": generator.uniform(0.2, 0.9, n),
    }


def _covers(tokens: np.ndarray, trigrams: np.ndarray) -> Columns:
    neurons = np.concatenate([tokens, trigrams])
    of_trigram = np.arange(len(neurons)) >= len(tokens)
    many = np.full(len(neurons), 1000, dtype=np.int64)
    return {
        "neuron": neurons,
        "n_tokens": many * 5000,
        **{f"activations_{n}": many for n in (1, 2, 3)},
        "cover_1": np.where(of_trigram, 300, 2).astype(np.int32),
        "cover_2": np.where(of_trigram, 80, 60).astype(np.int32),
        "cover_3": np.where(of_trigram, 20, 90).astype(np.int32),
    }


def _detected(tokens: np.ndarray, trigrams: np.ndarray, n_tokens: int, generator: np.random.Generator) -> Columns:
    """Two spellings of each token detector, one trigram of each trigram detector."""
    neurons = np.concatenate([np.repeat(tokens, 2), trigrams])
    n = np.repeat([1, 3], [2 * len(tokens), len(trigrams)])
    second = (n == 1) & (np.arange(len(n)) % 2 == 1)
    activations = np.where(n == 3, 980, np.where(second, 390, 590)).astype(np.int32)
    effect = generator.normal(0, 1, len(n)).astype(np.float32)
    return {
        "neuron": neurons,
        "n": n.astype(np.int16),
        "rank": np.where(second, 2, 1).astype(np.int32),
        "token_ids": _objects([generator.integers(2, n_tokens, size).tolist() for size in n]),
        "count": activations + 5,
        "activations": activations,
        "effect": effect,
        "effect_raw": effect,
        "percentile": generator.uniform(0, 100, len(n)).astype(np.float32),
    }


def _objects(values: list[list[object]]) -> np.ndarray:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made
