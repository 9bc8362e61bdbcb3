"""Plain float64 definitions on all data at once: what every streaming statistic must equal."""

from collections.abc import Callable

import numpy as np


def moments(x: np.ndarray) -> dict[str, np.ndarray]:
    """Population moments of each column of x (tokens, neurons); NaN skew and kurt where the variance is 0."""
    x = x.astype(np.float64)
    mean = x.mean(0)
    centred = x - mean
    var = (centred**2).mean(0)
    safe = np.where(var > 0, var, np.nan)
    return {
        "mean": mean,
        "var": var,
        "skew": (centred**3).mean(0) / safe**1.5,
        "kurt": (centred**4).mean(0) / safe**2,
    }


def jackknife(blocks: np.ndarray, estimate: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The standard error of an estimate by leaving out one block at a time; NaN where fewer than ten are there.

    Args:
        blocks: that of each thing estimated from.
        estimate: from the things that a mask of bool says.
    """
    there = np.unique(blocks)
    if len(there) < 10:
        return np.full(np.shape(estimate(np.ones(len(blocks), dtype=bool))), np.nan)
    without = np.stack([np.asarray(estimate(blocks != block), dtype=np.float64) for block in there])
    return np.asarray(np.sqrt((len(there) - 1) / len(there) * ((without - without.mean(0)) ** 2).sum(0)))


def mutual_information(active: np.ndarray) -> np.ndarray:
    """Of being active and the position, in nats, from the joint distribution of (rows, positions, neurons) bool."""
    joint = np.stack([active.mean(0), 1 - active.mean(0)]) / active.shape[1]
    apart = joint.sum(1, keepdims=True) / active.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = joint * np.log(joint / apart)
    return np.asarray(np.where(joint > 0, terms, 0).sum((0, 1)))


def centred_rows(x: np.ndarray) -> np.ndarray:
    """(neurons, tokens) float64 about the mean of each row: on long data rows lie together in memory."""
    rows = np.array(x, dtype=np.float64, order="C")
    rows -= rows.mean(1, keepdims=True)
    return rows


def correlation_of_centred(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlations of rows that are centred; NaN where a row is constant."""
    norm_x, norm_y = (np.sqrt(np.einsum("nt,nt->n", rows, rows)) for rows in (x, y))
    norms = np.outer(np.where(norm_x > 0, norm_x, np.nan), np.where(norm_y > 0, norm_y, np.nan))
    return np.clip((x @ y.T) / norms, -1, 1)


def correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlations of the columns of x and y; NaN where a column is constant."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    x, y = x - x.mean(0), y - y.mean(0)
    norm_x, norm_y = np.sqrt((x**2).sum(0)), np.sqrt((y**2).sum(0))
    norm_x, norm_y = np.where(norm_x > 0, norm_x, np.nan), np.where(norm_y > 0, norm_y, np.nan)
    return np.clip((x.T @ y) / np.outer(norm_x, norm_y), -1, 1)


def rotated_baseline(x: np.ndarray, y_layers: list[np.ndarray], rotations: list[np.ndarray]) -> np.ndarray:
    """Largest correlation of each column of x with the rotated units of any layer, by rotating the activations."""
    rotated = [y.astype(np.float64, copy=False) @ r.astype(np.float64).T for y, r in zip(y_layers, rotations, strict=True)]
    return np.nanmax(correlation(x, np.concatenate(rotated, axis=1)), axis=1)


def variance_reduction(values: np.ndarray, member: np.ndarray) -> float:
    """1 - (variance within the two classes) / variance, population variances (SPEC §6.1)."""
    inside, outside = values[member], values[~member]
    within = (len(inside) * inside.var() + len(outside) * outside.var()) / len(values)
    return float(1 - within / values.var())
