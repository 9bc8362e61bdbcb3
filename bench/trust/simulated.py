"""Do standard errors hold where the truth is known? Activations of documents whose tokens are alike, simulated.

    python -m bench.trust.simulated [--corpora 200]

A document draws its length, its topic and how often it has a feature; tokens add to that. Neurons answer to topic, feature and
noise, and those of two models to the same of it. What is true of the population is the mean over very many documents. Each
corpus is dealt into blocks as a real one is; an interval is the estimate and Student's t times its jackknife error, and those
are counted that miss the truth: of intervals that hold, 5 %. Beside them stand intervals as if tokens were independent.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import t as student

from cli.markdown import table
from ingest.corpus.blocks import deal
from ingest.statistics.jackknife import N_BLOCKS, jackknife

NEURONS = 40
DOCUMENTS, POPULATION = 500, 60_000
TOPICS = 4
CONFIDENCE = 0.95

Sums = dict[str, np.ndarray]
"""Sums over the tokens of each document, by what is summed: (documents,) or (documents, neurons)."""


def simulated(n_documents: int, random: np.random.Generator) -> Sums:
    """Sums of each document, whose tokens are drawn one after the other."""
    shares = np.linspace(0.1, 1.5, NEURONS)
    pieces: list[Sums] = []
    for start in range(0, n_documents, 200):
        n = min(200, n_documents - start)
        length = random.lognormal(4, 0.8, n).astype(int) + 5
        document = np.repeat(np.arange(n), length)
        topic = random.normal(size=(n, TOPICS))[document] @ random_directions()
        feature = random.random(len(document)) < random.beta(1, 4, n)[document]
        token = random.normal(size=len(document))[:, None]
        noise = random.normal(size=(2, len(document), NEURONS))
        common = shares * topic + 0.8 * feature[:, None] * shares[::-1] + 0.7 * token
        x, y = (np.maximum(common + each - 0.5, 0) for each in noise)
        values = {
            "n": np.ones(len(document)), "in": feature.astype(float), "x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y,
            "active": (x > 0).astype(float), "x in": x * feature[:, None],
        }  # fmt: skip
        ends = np.concatenate([[0], length.cumsum()[:-1]])
        pieces.append({name: np.add.reduceat(of_tokens, ends, axis=0) for name, of_tokens in values.items()})
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def random_directions() -> np.ndarray:
    """(topics, neurons): how the neurons answer to topics, the same in every corpus."""
    return np.random.default_rng(11).normal(size=(TOPICS, NEURONS)) / np.sqrt(TOPICS)


def _correlation(n: np.ndarray, x: np.ndarray, y: np.ndarray, xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> np.ndarray:
    return (xy / n - x * y / n**2) / np.sqrt((xx / n - (x / n) ** 2) * (yy / n - (y / n) ** 2))


def _reduction(n: np.ndarray, x: np.ndarray, xx: np.ndarray, x_in: np.ndarray, n_in: np.ndarray) -> np.ndarray:
    between = n_in * (n - n_in) / n**2 * (x_in / n_in - (x - x_in) / (n - n_in)) ** 2
    return between / (xx / n - (x / n) ** 2)


STATISTICS: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...]]] = {
    "mean": (lambda n, x: x / n, ("x",)),
    "frequency": (lambda n, active: active / n, ("active",)),
    "correlation, same partner": (_correlation, ("x", "y", "xx", "yy", "xy")),
    "variance reduction": (_reduction, ("x", "xx", "x in", "in")),
}
"""By what they are: how they follow from the sums of tokens, and from which."""


def in_blocks(sums: Sums, random: np.random.Generator) -> Sums:
    """Sums of the documents of each block."""
    n_documents = len(sums["n"])
    blocks = deal("", random.integers(0, 2**63, n_documents, dtype=np.uint64), 10**9)
    added = {name: np.zeros((N_BLOCKS, *values.shape[1:])) for name, values in sums.items()}
    for name, values in sums.items():
        np.add.at(added[name], blocks, values)
    return added


def naive_error(name: str, sums: Sums, estimate: np.ndarray) -> np.ndarray:
    """The error as if tokens were independent; NaN where that is not known by a formula."""
    n, x, xx = (sums[key].sum(0) for key in ("n", "x", "xx"))
    if name == "mean":
        return np.asarray(np.sqrt((xx / n - (x / n) ** 2) / n))
    if name == "frequency":
        return np.asarray(np.sqrt(estimate * (1 - estimate) / n))
    return np.asarray((1 - estimate**2) / np.sqrt(n)) if name.startswith("correlation") else np.full(len(x), np.nan)


def measure(n_corpora: int) -> list[dict[str, Any]]:
    """A row for each statistic."""
    population = {name: values.sum(0) for name, values in simulated(POPULATION, np.random.default_rng(0)).items()}
    truth = {name: make(population["n"], *(population[key] for key in keys)) for name, (make, keys) in STATISTICS.items()}
    bound = float(student.ppf((1 + CONFIDENCE) / 2, N_BLOCKS - 1))
    missed: dict[str, list[float]] = {name: [] for name in STATISTICS}
    naive: dict[str, list[float]] = {name: [] for name in STATISTICS}
    for number in range(n_corpora):
        random = np.random.default_rng([1, number])
        documents = simulated(DOCUMENTS, random)
        blocks = in_blocks(documents, random)
        for name, (make, keys) in STATISTICS.items():
            estimate = make(documents["n"].sum(), *(documents[key].sum(0) for key in keys))
            error = jackknife(blocks["n"].astype(int), make, *(blocks[key] for key in keys))
            apart = np.abs(estimate - truth[name])
            missed[name].append(float((apart > bound * error).mean()))
            naive[name].append(float((apart > 1.96 * naive_error(name, documents, estimate)).mean()))
    return [
        {
            "what": name,
            "intervals": n_corpora * NEURONS,
            "miss the truth, %": 100 * float(np.mean(missed[name])),
            "as if tokens were independent, %": "–" if name == "variance reduction" else 100 * float(np.mean(naive[name])),
        }
        for name in STATISTICS
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=int, default=200)
    arguments = parser.parse_args()
    print(table(measure(arguments.corpora)))


if __name__ == "__main__":
    main()
