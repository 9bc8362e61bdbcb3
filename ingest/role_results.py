"""The border for what neurons do: results per flat neuron index become columns per neuron id; see `ingest.to_rows`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from catalog.schema.roles import METRICS
from ingest.parts.arrays import Arrays, Columns, Ids, TableRows
from ingest.roles.bos_norms import BosNormRatio
from ingest.roles.compositions import LayerCompositions
from ingest.roles.head_scores import RandomBaseline
from ingest.roles.head_selection import SelectedScores
from ingest.roles.intervention import Intervention
from ingest.roles.path_ablation import PathAblation
from ingest.roles.prediction_metrics import METRICS as MEASURED
from ingest.roles.prediction_metrics import InterventionResults
from ingest.roles.redundancy import SimilarNeurons
from ingest.roles.vectors import UnitVectors

CAUSES = {"act": "activation"}
"""Names in the database of what ablations relate, where they differ."""


@dataclass(frozen=True)
class Measured:
    """Interventions on one model and what came of them."""

    interventions: Sequence[Intervention]
    purposes: Sequence[str]
    of: Sequence[int]
    """The flat index of the candidate whose opposite the neuron is; -1 for none."""
    results: InterventionResults
    n_rows: int


def explanation_columns(found: Arrays, ids: Ids, feature_ids: np.ndarray) -> Iterator[TableRows]:
    """Rows of logit_explanations.

    Args:
        feature_ids: keys of the features in the order of their table.
    """
    numbers = ("mean_in", "mean_out", "mean_difference", "welch_t", "variance_reduction", "skew_reduction", "kurt_reduction")
    yield (
        "logit_explanations",
        {
            "neuron_id": ids[found["neuron_index"]],
            "feature_id": feature_ids[found["feature_index"]],
            "rank": found["rank"].astype(np.int16),
            **{name: found[name].astype(np.int32) for name in ("n_in", "n_out")},
            **{name: found[name] for name in numbers},
        },
    )


def similar_columns(found: SimilarNeurons, kind: str, ids: Ids) -> Iterator[TableRows]:
    """Rows of similar_neurons, of one kind of weights."""
    ends = (
        (False, found.nearest, found.nearest_cosine, found.nearest_mutual),
        (True, found.opposite, found.opposite_cosine, found.opposite_mutual),
    )
    for opposite, others, cosines, mutual in ends:
        neuron, place = np.nonzero(others >= 0)
        n = len(neuron)
        yield (
            "similar_neurons",
            {
                "neuron_id": ids[neuron],
                "kind": np.full(n, kind.encode()),
                "opposite": np.full(n, opposite),
                "rank": (place + 1).astype(np.int16),
                "other_neuron_id": ids[others[neuron, place]],
                "cosine": cosines[neuron, place].astype(np.float32),
                "mutual": mutual[neuron] & (place == 0),
            },
        )


def vector_columns(found: UnitVectors, kind: str, ids: Ids, model_id: int) -> Iterator[TableRows]:
    """Rows of neuron_vectors, of one kind; neurons without a direction have none."""
    neurons = np.flatnonzero(found.exists)
    yield (
        "neuron_vectors",
        {
            "neuron_id": ids[neurons],
            "kind": np.full(len(neurons), kind.encode()),
            "model_id": np.full(len(neurons), model_id, dtype=np.int32),
            "vector": found.vectors[neurons],
        },
    )


def composition_columns(found: Sequence[LayerCompositions], ids: Ids, d_mlp: int) -> Iterator[TableRows]:
    """Rows of head_compositions; neurons without input or output weights have none."""
    for layer in found:
        own = ids[layer.layer * d_mlp : (layer.layer + 1) * d_mlp]
        scores = {name: getattr(layer, name) for name in "qkvo"}
        defined = ~np.any([np.isnan(values).any(1) for values in scores.values()], axis=0)
        yield (
            "head_compositions",
            {"neuron_id": own[defined], **{name: values[defined].astype(np.float32) for name, values in scores.items()}},
        )


def score_columns(found: SelectedScores, ids: Ids) -> Iterator[TableRows]:
    """Rows of head_scores."""
    yield (
        "head_scores",
        {
            "neuron_id": ids[found.neuron_index],
            **{name: getattr(found, name).astype(np.int16) for name in ("head_layer", "head")},
            **{name: getattr(found, name).astype(np.float32) for name in ("h", "h_sd", "h_scaled")},
            "head_rank": np.ma.masked_equal(found.head_rank.astype(np.int16), 0),
            "largest": found.largest,
            "smallest": found.smallest,
        },
    )


def _of_heads(shape: torch.Size, first_layer: int, model_id: int) -> Columns:
    layers, heads = (grid.ravel().astype(np.int16) for grid in np.indices(shape))
    later = layers >= first_layer
    n = int(later.sum())
    return {"model_id": np.full(n, model_id, dtype=np.int32), "head_layer": layers[later], "head": heads[later]}


def baseline_columns(found: RandomBaseline, model_id: int) -> Iterator[TableRows]:
    """Rows of head_baselines; no neuron comes before the heads of layer 0."""
    columns = _of_heads(found.largest.shape, 1, model_id)
    numbers = {"max_abs_h": found.largest[1:], "sd_h": found.sd[1:]}
    yield "head_baselines", {**columns, **{name: v.flatten().cpu().numpy().astype(np.float32) for name, v in numbers.items()}}


def norm_columns(found: BosNormRatio, model_id: int) -> Iterator[TableRows]:
    """Rows of head_norms."""
    columns = _of_heads(found.ratio.shape, 0, model_id)
    numbers = {"bos_norm_ratio": found.ratio, "bos_norm_ratio_with_bias": found.ratio_with_bias}
    n = np.full(len(columns["head"]), found.n_tokens, dtype=np.int64)
    yield "head_norms", {**columns, "n_tokens": n, **{name: v.flatten().cpu().numpy() for name, v in numbers.items()}}


def ablation_columns(
    found: Sequence[PathAblation], ids: Ids, d_mlp: int, n_rows: int, purpose: str = "chosen"
) -> Iterator[TableRows]:
    """Rows of path_ablations and of ablation_relations, over so many rows of the corpus."""
    if not found:
        return
    names = (
        "p_bos",
        "delta_p_bos",
        "z_norm",
        "delta_z_norm",
        "fractional_z_norm",
        "o_norm",
        "delta_o_norm",
        "fractional_o_norm",
    )
    pairs = {
        "neuron_id": ids[np.array([own.pair.layer * d_mlp + own.pair.index for own in found])],
        "head_layer": np.array([own.pair.head_layer for own in found], dtype=np.int16),
        "head": np.array([own.pair.head for own in found], dtype=np.int16),
        "n_rows": np.full(len(found), n_rows, dtype=np.int32),
    }
    yield (
        "path_ablations",
        {
            **pairs,
            "purpose": np.full(len(found), purpose, dtype=object),
            "n_tokens": np.array([own.n for own in found], dtype=np.int64),
            "activation": np.array([own.act for own in found]),
            "activation_sd": np.array([own.act_sd for own in found]),
            **{name: np.array([getattr(own, name) for own in found]) for name in names},
        },
    )
    related = [relation for own in found for relation in own.relations.items()]
    each = len(related) // len(found)
    yield (
        "ablation_relations",
        {
            **{name: np.repeat(values, each) for name, values in pairs.items()},
            "x": np.array([CAUSES.get(x, x) for (x, _), _ in related], dtype=object),
            "y": np.array([y for (_, y), _ in related], dtype=object),
            **{
                name: np.array([getattr(relation, name) for _, relation in related])
                for name in ("pearson", "spearman", "slope", "intercept")
            },
        },
    )


def intervention_columns(found: Measured, ids: Ids, d_mlp: int) -> Iterator[TableRows]:
    """Rows of interventions."""
    n = len(found.interventions)
    if not n:
        return
    neurons = [
        sorted(int(ids[layer * d_mlp + index]) for layer, index in intervention.neurons) for intervention in found.interventions
    ]
    together = np.empty(n, dtype=object)
    together[:] = [own[1:] for own in neurons]
    of = np.array(found.of)
    metrics: Columns = {}
    for name in METRICS:
        column = MEASURED.index(name)
        metrics |= {
            name: found.results.mean[:, column],
            f"{name}_delta": found.results.delta[:, column],
            f"{name}_se": found.results.se[:, column],
        }
    kl = MEASURED.index("kl")
    yield (
        "interventions",
        {
            "neuron_id": np.array([own[0] for own in neurons], dtype=np.int32),
            "together": together,
            "kind": np.array([intervention.kind for intervention in found.interventions], dtype=object),
            "value": np.array([float(intervention.value) for intervention in found.interventions]),
            "n_rows": np.full(n, found.n_rows, dtype=np.int32),
            "n_tokens": np.full(n, found.results.n_tokens, dtype=np.int64),
            "purpose": np.array(found.purposes, dtype=object),
            "of_neuron_id": np.ma.masked_array(ids[np.clip(of, 0, None)], mask=of < 0),
            **metrics,
            "kl": found.results.mean[:, kl],
            "kl_se": found.results.se[:, kl],
        },
    )
