"""Means and relations of what path ablation of a neuron does to a head (SPEC §9.3)."""

from dataclasses import dataclass

import numpy as np

from ingest.roles.heads import Pair

RELATIONS = (
    ("act", "delta_p_bos"),
    ("act", "delta_z_norm"),
    ("act", "delta_o_norm"),
    ("act", "fractional_z_norm"),
    ("act", "fractional_o_norm"),
    ("delta_p_bos", "delta_z_norm"),
    ("delta_p_bos", "delta_o_norm"),
    ("delta_p_bos", "fractional_z_norm"),
    ("delta_p_bos", "fractional_o_norm"),
)
"""What is set against what: (x, y)."""


@dataclass(frozen=True)
class Relation:
    """Of y to x over destinations; NaN where one of them is constant or undefined anywhere."""

    pearson: float
    spearman: float
    """Pearson of ranks; equal values share their mean rank."""
    slope: float
    """Of the least-squares line y = slope·x + intercept."""
    intercept: float


@dataclass(frozen=True)
class PathAblation:
    """One pair, over n destinations; figures are float64, NaN where there is no destination."""

    pair: Pair
    n: int
    act: float
    """Mean of post at the destination."""
    act_sd: float
    """Population standard deviation."""
    p_bos: float
    """Mean attention to position 0 in the clean run."""
    z_norm: float
    """Mean ‖z‖ of the clean run, z being what the head mixes from values."""
    o_norm: float
    """Mean ‖W_O z‖ of the clean run."""
    delta_p_bos: float
    """Mean of ablated minus clean, here and in the next two."""
    delta_z_norm: float
    delta_o_norm: float
    fractional_z_norm: float
    """Mean of (ablated minus clean) / clean, here and in the next one."""
    fractional_o_norm: float
    relations: dict[tuple[str, str], Relation]
    """By RELATIONS."""


def summarise(
    pair: Pair,
    act: np.ndarray,
    p_bos: np.ndarray,
    z_norm: np.ndarray,
    o_norm: np.ndarray,
    delta_p_bos: np.ndarray,
    delta_z_norm: np.ndarray,
    delta_o_norm: np.ndarray,
) -> PathAblation:
    """Of the single numbers of a pair, (n,) each."""
    single = {
        "act": act,
        "p_bos": p_bos,
        "z_norm": z_norm,
        "o_norm": o_norm,
        "delta_p_bos": delta_p_bos,
        "delta_z_norm": delta_z_norm,
        "delta_o_norm": delta_o_norm,
    }
    values = {name: numbers.astype(np.float64) for name, numbers in single.items()}
    for norm in ("z_norm", "o_norm"):
        clean = values[norm]
        values[f"fractional_{norm}"] = values[f"delta_{norm}"] / np.where(clean > 0, clean, np.nan)
    means = {name: float(numbers.mean()) if len(act) else np.nan for name, numbers in values.items()}
    return PathAblation(
        pair=pair,
        n=len(act),
        act_sd=float(values["act"].std()) if len(act) else np.nan,
        relations={(x, y): relation(values[x], values[y]) for x, y in RELATIONS},
        **means,
    )


def relation(x: np.ndarray, y: np.ndarray) -> Relation:
    """Of (n,) float64 each."""
    if len(x) < 2 or not (np.ptp(x) > 0 and np.ptp(y) > 0):  # NaN is not above 0
        return Relation(np.nan, np.nan, np.nan, np.nan)
    off_x, off_y = x - x.mean(), y - y.mean()
    slope = (off_x @ off_y) / (off_x @ off_x)
    return Relation(
        pearson=_pearson(x, y),
        spearman=_pearson(_ranks(x), _ranks(y)),
        slope=float(slope),
        intercept=float(y.mean() - slope * x.mean()),
    )


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    off_x, off_y = x - x.mean(), y - y.mean()
    # each divided by its own norm, for the product of two small squares is zero
    return float((off_x / np.linalg.norm(off_x)) @ (off_y / np.linalg.norm(off_y)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]
