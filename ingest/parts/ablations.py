"""ablations: what heads do without a neuron's contribution to their queries, and how large their output from BOS is."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
import torch

from ingest.parts.arrays import Arrays, Ids, TableRows
from ingest.parts.ground import Ground
from ingest.parts.head_scores import scores_of
from ingest.parts.heads import of_heads
from ingest.parts.measure import Advance, Keys, ModelMeasure, Written
from ingest.parts.shapes import ModelShape, Share
from ingest.roles.bos_norms import BosNormRatio, bos_norm_ratio
from ingest.roles.head_selection import choose_pairs
from ingest.roles.heads import Pair
from ingest.roles.path_ablation import PathAblation, ablate_paths
from ingest.roles.path_summary import RELATIONS, Relation
from ingest.settings import IngestSettings

LEAST_MULTIPLE = 1.5
"""Of the largest |h| of random vectors, from which on a neuron's pair is ablated: below what labels ask for, which is 2."""
MOST_PAIRS = 4
"""Pairs that are ablated, as a multiple of those of each sign that are ablated in any case."""
PAIRS_AT_ONCE, LEAST_PAIRS = 20, 5
"""In one share, at most, and in one that workers are left: 20 take about as long as the forward passes of every share."""
CAUSES = {"act": "activation"}
"""Names in the database of what ablations relate, where they differ."""
NUMBERS = tuple(field.name for field in fields(PathAblation) if field.name not in ("pair", "n", "relations"))
FIGURES = tuple(field.name for field in fields(Relation))


class HeadNorms(ModelMeasure):
    """Norms of what heads write from BOS and from other tokens, in one pass for all heads."""

    part = "ablations"
    name = "head_norms"
    title = "norms of heads"
    reads_corpus = True

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return tokens * shape.block_flop * shape.n_layers

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        assert ground.bos_id is not None
        ratio = bos_norm_ratio(ground.processed(model), ground.corpus, ground.bos_id, *ground.reading, advance)
        ratios = {name: getattr(ratio, name).numpy() for name in ("ratio", "ratio_with_bias")}
        return {**ratios, "n_tokens": np.array(ratio.n_tokens)}

    def rows(self, arrays: Arrays, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        ratio, with_bias = (torch.from_numpy(arrays[name]) for name in ("ratio", "ratio_with_bias"))
        return norm_columns(BosNormRatio(ratio, with_bias, int(arrays["n_tokens"])), keys.models[model].model_id)


class PathAblations(ModelMeasure):
    """Ablation of the pairs that h promises most of, some pairs in each share."""

    part = "ablations"
    name = "path_ablations"
    title = "path ablation"
    needs = ("head_scores",)
    reads_corpus = True

    def expected(self, shape: ModelShape, settings: IngestSettings) -> int:
        return 2 * settings.ablation_pairs

    def shares(self, shape: ModelShape, settings: IngestSettings) -> int:
        """No attention comes after a model's only layer."""
        most = MOST_PAIRS * settings.ablation_pairs
        shares = min(-(-most // LEAST_PAIRS), max(-(-most // PAIRS_AT_ONCE), settings.at_least_jobs))
        return 0 if shape.n_layers == 1 else shares

    def operations(self, shape: ModelShape, tokens: int, n: int, shares: int) -> float:
        return tokens * shape.block_flop * shape.n_layers * (1 + n / PAIRS_AT_ONCE)

    def find(self, model: int, share: Share, ground: Ground, advance: Advance) -> Arrays:
        checkpoint, each = ground.processed(model), ground.settings.ablation_pairs
        scores, baseline = scores_of(model, ground)
        chosen = choose_pairs(scores, checkpoint.d_mlp, each, LEAST_MULTIPLE * baseline.largest_of_model, MOST_PAIRS * each)
        # pairs of one head share its keys and values
        pairs = share.part(sorted(chosen, key=lambda pair: (pair.head_layer, pair.head)))
        return ablation_arrays(ablate(model, pairs, ground, advance) if pairs else [])

    def count(self, arrays: Arrays) -> int:
        return len(arrays["pair"])

    def rows(self, arrays: Arrays, model: int, keys: Keys, ground: Ground) -> Iterator[TableRows]:
        d_mlp = ground.checkpoints[model].d_mlp
        return ablation_columns(ablations_of(arrays), keys.models[model].neuron_ids, d_mlp, ground.n_rows_read)

    def written(self, n_models: int, n_subsets: int, top_k: int) -> Written:
        return Written(moved=0.3)


def ablate(model: int, pairs: Sequence[Pair], ground: Ground, advance: Advance) -> list[PathAblation]:
    """Take neurons from the queries of heads on the first tokens of the corpus.

    Raises:
        ValueError: the model has no such neuron or head, or its output does not reach the head.
    """
    return ablate_paths(ground.processed(model), ground.corpus, pairs, ground.tokenizer.special_ids, *ground.reading, advance)


def ablation_arrays(ablations: Sequence[PathAblation]) -> Arrays:
    """One entry for each pair."""
    pairs = [ablation.pair for ablation in ablations]
    places = [(pair.layer, pair.index, pair.head_layer, pair.head) for pair in pairs]
    relations = [[[getattr(ablation.relations[key], name) for name in FIGURES] for key in RELATIONS] for ablation in ablations]
    return {
        "pair": np.array(places, dtype=np.int64).reshape(-1, 4),
        "n": np.array([ablation.n for ablation in ablations], dtype=np.int64),
        "relations": np.array(relations, dtype=np.float64).reshape(-1, len(RELATIONS), len(FIGURES)),
        **{name: np.array([getattr(ablation, name) for ablation in ablations], dtype=np.float64) for name in NUMBERS},
    }


def ablations_of(arrays: Arrays) -> list[PathAblation]:
    """What `ablation_arrays` was given."""
    return [
        PathAblation(
            pair=Pair(*pair),
            n=int(arrays["n"][i]),
            relations={key: Relation(*arrays["relations"][i, j].tolist()) for j, key in enumerate(RELATIONS)},
            **{name: float(arrays[name][i]) for name in NUMBERS},
        )
        for i, pair in enumerate(arrays["pair"].tolist())
    ]


def norm_columns(norms: BosNormRatio, model_id: int) -> Iterator[TableRows]:
    """Rows of head_norms."""
    columns = of_heads(tuple(norms.ratio.shape), 0, model_id)
    numbers = {"bos_norm_ratio": norms.ratio, "bos_norm_ratio_with_bias": norms.ratio_with_bias}
    n = np.full(len(columns["head"]), norms.n_tokens, dtype=np.int64)
    yield "head_norms", {**columns, "n_tokens": n, **{name: v.flatten().cpu().numpy() for name, v in numbers.items()}}


def ablation_columns(
    ablations: Sequence[PathAblation], ids: Ids, d_mlp: int, n_rows: int, purpose: str = "chosen"
) -> Iterator[TableRows]:
    """Rows of path_ablations and of ablation_relations, over so many rows of the corpus."""
    if not ablations:
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
        "neuron_id": ids[np.array([ablation.pair.layer * d_mlp + ablation.pair.index for ablation in ablations])],
        "head_layer": np.array([ablation.pair.head_layer for ablation in ablations], dtype=np.int16),
        "head": np.array([ablation.pair.head for ablation in ablations], dtype=np.int16),
        "n_rows": np.full(len(ablations), n_rows, dtype=np.int32),
    }
    yield (
        "path_ablations",
        {
            **pairs,
            "purpose": np.full(len(ablations), purpose, dtype=object),
            "n_tokens": np.array([ablation.n for ablation in ablations], dtype=np.int64),
            "activation": np.array([ablation.act for ablation in ablations]),
            "activation_sd": np.array([ablation.act_sd for ablation in ablations]),
            **{name: np.array([getattr(ablation, name) for ablation in ablations]) for name in names},
        },
    )
    related = [relation for ablation in ablations for relation in ablation.relations.items()]
    each = len(related) // len(ablations)
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
