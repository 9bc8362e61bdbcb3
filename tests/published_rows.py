"""Rows of the small published family, part by part."""

import numpy as np

from catalog.rows import ModelIds
from catalog.runs.handle import RunHandle
from tests.published_corpus import TOKENS, corpus_tokens

MODELS = ("pocket-gpt2-a", "pocket-gpt2-b", "pocket-gpt2-c")
N_LAYERS, D_MLP = 2, 16
N = N_LAYERS * D_MLP
UNIVERSAL = (3, D_MLP + 2, D_MLP + 10)
DEAD = 0
WITHOUT_BLOCKS, CORR_SE, BASELINE_SE = 0.001 * (-1.0) ** np.arange(32), 0.001 * 31**0.5, 0.002
"""How best correlations change without each block, and the errors of correlations, by these, and of baselines."""


def stage_neurons(handle: RunHandle, own: ModelIds, feature_ids: dict[str, int]) -> None:
    """Statistics, explanations, letters and tokens of one model."""
    neurons = own.neuron_ids
    spread = np.linspace(0.1, 1.0, N)
    _stage_activations(handle, neurons, spread)
    _stage_positions(handle, neurons, spread)
    _stage_distributions(handle, neurons, spread)
    _stage_weights(handle, neurons, spread)
    _stage_ngrams(handle, neurons)
    _stage_next_tokens(handle, neurons, feature_ids)
    _stage_explanations(handle, neurons, feature_ids)
    _stage_examples(handle, neurons)
    _stage_tokens(handle, neurons)


def _stage_activations(handle: RunHandle, neurons: np.ndarray, spread: np.ndarray) -> None:
    undefined = np.where(np.arange(N) == DEAD, np.nan, spread)
    handle.stage(
        "activation_statistics",
        {
            "neuron_id": neurons,
            "n_tokens": np.full(N, 12000, dtype=np.int64),
            "degenerate": np.arange(N) == DEAD,
            **{name: undefined for name in ("skew", "kurt", "post_skew", "post_kurt")},
            **{name: spread for name in ("mean", "var", "post_mean", "post_var", "sparsity")},
            **{f"{name}_se": undefined / 20 for name in ("skew", "kurt", "post_skew", "post_kurt", "sparsity")},
            **{f"{name}_se": spread / 20 for name in ("mean", "var", "post_mean", "post_var")},
        },
    )


def _stage_positions(handle: RunHandle, neurons: np.ndarray, spread: np.ndarray) -> None:
    handle.stage(
        "position_statistics",
        {
            "neuron_id": neurons,
            "n_rows": np.full(N, 2000, dtype=np.int32),
            "pattern": np.full(N, "other", dtype=object),
            "strength": np.full(N, "weak", dtype=object),
            "alternations": np.zeros(N, dtype=np.int16),
            "runs": np.array([[]] * N + [None], dtype=object)[:-1],
            **{
                name: spread / 100 for name in "mutual_information mutual_information_bos pos_std pos_std_mean coverage".split()
            },
            **{name: spread / 1000 for name in ("mutual_information_se", "mutual_information_bos_se")},
        },
    )


def _stage_weights(handle: RunHandle, neurons: np.ndarray, spread: np.ndarray) -> None:
    handle.stage(
        "weight_statistics",
        {
            "neuron_id": neurons,
            "vocab_n": np.full(N, len(TOKENS), dtype=np.int32),
            **{
                name: spread
                for name in (
                    "w_in_norm w_out_norm input_bias l2_penalty vocab_mean vocab_skew vocab_kurt "
                    "logit_var logit_skew logit_kurt"
                ).split()
            },
            "vocab_var": spread / 100,
            "in_out_sim": spread / 4,
        },
    )


def _stage_tokens(handle: RunHandle, neurons: np.ndarray) -> None:
    """Top tokens, and those whose logits a neuron changes most."""
    tokens = np.array([3, 2, 1, 7, 8], dtype=np.int32)
    many = np.repeat(neurons, len(tokens))
    handle.stage(
        "top_tokens",
        {
            "neuron_id": many,
            "rank": np.tile(np.arange(1, 6, dtype=np.int16), N),
            "token_id": np.tile(tokens, N),
            "mean": np.tile(np.linspace(2, 1, 5), N),
            "n": np.full(len(many), 1000, dtype=np.int64),
        },
    )
    for direction, sign in (("promoted", 1.0), ("suppressed", -1.0)):
        handle.stage(
            "logit_effects",
            {
                "neuron_id": many,
                "direction": np.array([direction] * len(many), dtype=object),
                "rank": np.tile(np.arange(1, 6, dtype=np.int16), N),
                "token_id": np.tile(tokens, N),
                "effect": np.tile(sign * np.linspace(0.9, 0.5, 5), N).astype(np.float32),
            },
        )


EXAMPLES = ((0, 1, 2.5, 7, 30), (0, 2, 1.5, 150, 1), (0, 3, -0.125, 7, 63), (50, 1, 0.75, 3, 22))
"""Kind, rank, value, row and position of every neuron's examples."""


def _stage_examples(handle: RunHandle, neurons: np.ndarray) -> None:
    kind, rank, value, row, position = (np.tile(column, N) for column in zip(*EXAMPLES, strict=True))
    handle.stage(
        "examples",
        {
            "neuron_id": np.repeat(neurons, len(EXAMPLES)),
            "kind": kind.astype(np.int16),
            "rank": rank.astype(np.int16),
            "value": value.astype(np.float32),
            "row": row.astype(np.int32),
            "position": position.astype(np.int32),
            "quantile": np.where(kind == 0, np.nan, 0.4).astype(np.float32),
            "token_id": corpus_tokens()[row, position],
        },
    )


def _stage_next_tokens(handle: RunHandle, neurons: np.ndarray, feature_ids: dict[str, int]) -> None:
    """Before a comma neuron 3 is active less, and every other one more."""
    comma = np.full(N, feature_ids["contains_comma"], dtype=np.int32)
    sign = np.where(np.arange(N) == 3, -1.0, 1.0)
    handle.stage(
        "next_token_statistics",
        {
            "neuron_id": neurons,
            "feature_id": comma,
            "rank": np.ones(N, dtype=np.int16),
            "n_in": np.full(N, 400, dtype=np.int64),
            "n_out": np.full(N, 11_500, dtype=np.int64),
            "mean_in": 0.5 * sign,
            "mean_out": np.zeros(N),
            "freq_in": 0.5 + 0.3 * sign,
            "freq_out": np.full(N, 0.5),
            "cohen_d": 0.5 * sign,
        },
    )


def _stage_ngrams(handle: RunHandle, neurons: np.ndarray) -> None:
    """Neurons that many n-grams cover; 1.10 is known to be active on the letter s alone and after a space."""
    handle.stage(
        "ngram_statistics",
        {
            "neuron_id": neurons,
            "n_tokens": np.full(N, 12000, dtype=np.int64),
            **{f"activations_{n}": np.full(N, 2000, dtype=np.int64) for n in (1, 2, 3)},
            **{f"cover_{n}": np.full(N, 10 * n, dtype=np.int32) for n in (1, 2, 3)},
        },
    )
    token_ids = np.empty(2, dtype=object)
    token_ids[:] = [[2], [3]]
    handle.stage(
        "detected_ngrams",
        {
            "neuron_id": np.repeat(neurons[D_MLP + 10], 2),
            "n": np.ones(2, dtype=np.int16),
            "rank": np.array([1, 2], dtype=np.int32),
            "token_ids": token_ids,
            "count": np.array([1010, 1000], dtype=np.int32),
            "activations": np.array([1000, 980], dtype=np.int32),
            "effect": np.array([-1.0, 0.5], dtype=np.float32),
            "effect_raw": np.array([-3.0, 1.0], dtype=np.float32),
            "percentile": np.array([25.0, 75.0], dtype=np.float32),
        },
    )


SCORES = ("variance_reduction", "chosen_variance_reduction", "held_out_variance_reduction")


def _stage_explanations(handle: RunHandle, neurons: np.ndarray, feature_ids: dict[str, int]) -> None:
    best = {3: ("is_digit", "current", 0.6), D_MLP + 2: ("contains_comma", "previous", 0.4)}
    best[D_MLP + 10] = ("s_unigram", "current", 0.8)
    chosen = [best.get(k, ("contains_comma", "current", 0.01)) for k in range(N)]
    handle.stage(
        "explanations",
        {
            "neuron_id": neurons,
            "feature_id": np.array([feature_ids[name] for name, _, _ in chosen], dtype=np.int32),
            "shift": np.array([shift for _, shift, _ in chosen], dtype=object),
            **dict.fromkeys(SCORES, np.array([score for _, _, score in chosen])),
            "n_in": np.full(N, 1000, dtype=np.int64),
            "n_out": np.full(N, 11000, dtype=np.int64),
            "mean_in": np.full(N, 2.0),
            "mean_out": np.full(N, 0.5),
            "cohen_d": np.full(N, np.nan),
            "rank": np.ones(N, dtype=np.int32),
        },
    )
    is_letter = np.arange(N) == D_MLP + 10
    handle.stage(
        "letter_scores",
        {
            "neuron_id": neurons,
            "letter": np.array(["s"] * N, dtype=object),
            "feature_id": np.full(N, feature_ids["s_unigram"], dtype=np.int32),
            **dict.fromkeys(SCORES, np.where(is_letter, 0.8, 0.02)),
            "mean_a": np.full(N, 3.0),
            "mean_b": np.full(N, 2.0),
            "mean_c": np.full(N, np.nan),
        },
    )


def _stage_distributions(handle: RunHandle, neurons: np.ndarray, spread: np.ndarray) -> None:
    """Histograms, quantiles, and moments per subset of one model."""
    counts = np.empty(N, dtype=object)
    counts[:] = [[0] * 100 + [12000] + [0] * 156] * N
    handle.stage("histograms", {"neuron_id": neurons, **dict.fromkeys(("pre", "post", "pre_masked"), counts)})
    shares = ("0_1", "1", "5", "25", "50", "75", "95", "99", "99_9")
    names = [f"{kind}_p{share}" for kind in ("pre", "post") for share in shares]
    handle.stage(
        "distribution_statistics", {"neuron_id": neurons, **dict.fromkeys([*names, "bos_activation", "bos_ratio"], spread)}
    )
    moments = ("mean", "var", "skew", "kurt", "sparsity", "post_mean", "post_var", "post_skew", "post_kurt")
    handle.stage(
        "late_statistics",
        {"neuron_id": neurons, "n_tokens": np.full(N, 11000, dtype=np.int64), **dict.fromkeys(moments, spread)},
    )
    for subset, n_tokens in (("prose", 9000), ("code", 3000)):
        handle.stage(
            "subset_statistics",
            {
                "neuron_id": neurons,
                "subset": np.full(N, subset, dtype=object),
                "n_tokens": np.full(N, n_tokens, dtype=np.int64),
                **dict.fromkeys(moments, spread),
                "variance_reduction": spread / 100,
            },
        )


def stage_pairs(handle: RunHandle, own: ModelIds, others: list[ModelIds]) -> None:
    """Correlations of one model's neurons with those of the others."""
    universal = np.isin(np.arange(N), UNIVERSAL)
    dead = np.arange(N) == DEAD
    best = np.where(dead, np.nan, np.where(universal, 0.9, 0.3))
    baseline = np.where(dead, np.nan, 0.2)
    alive = np.flatnonzero(~dead)
    for other in others:
        for rank, shift, correlation in ((1, 0, best), (2, 1, best / 2)):
            partners = other.neuron_ids[alive[(np.arange(len(alive)) + shift) % len(alive)]]
            handle.stage(
                "pairs",
                {
                    "neuron_id": own.neuron_ids[alive],
                    "other_neuron_id": partners,
                    "other_model_id": np.full(len(alive), other.model_id, dtype=np.int32),
                    "correlation": correlation[alive].astype(np.float32),
                    "correlation_se": np.full(len(alive), CORR_SE, dtype=np.float32),
                    "rank": np.full(len(alive), rank, dtype=np.int16),
                    "mutual_best": np.full(len(alive), rank == 1),
                },
            )
        # A staged NULL key needs a masked array; the dead neuron has no row of its own here.
        handle.stage(
            "universality_by_model",
            {
                "neuron_id": own.neuron_ids[alive],
                "other_model_id": np.full(len(alive), other.model_id, dtype=np.int32),
                "max_corr": best[alive].astype(np.float32),
                "max_corr_se": np.full(len(alive), CORR_SE, dtype=np.float32),
                "without_blocks": np.tile(WITHOUT_BLOCKS.astype(np.float32), (len(alive), 1)),
                "baseline_without_blocks": np.zeros((len(alive), 32), dtype=np.float32),
                "other_neuron_id": other.neuron_ids[alive],
                "baseline": baseline[alive].astype(np.float32),
                "baseline_sd": np.full(len(alive), BASELINE_SE * 7**0.5, dtype=np.float32),
                "baseline_se": np.full(len(alive), BASELINE_SE, dtype=np.float32),
                "baseline_layer": np.zeros(len(alive), dtype=np.int16),
                "diag_corr": best[alive].astype(np.float32), "mutual_best": np.ones(len(alive), dtype=bool),
            },
        )  # fmt: skip
    handle.stage(
        "universality",
        {
            "neuron_id": own.neuron_ids,
            **{name: best for name in ("max_corr", "mean_corr", "min_corr")},
            **{name: baseline for name in ("max_baseline", "mean_baseline", "min_baseline")},
            "excess_corr": best - baseline,
            "mean_corr_se": best * 0 + CORR_SE,
            "excess_se": best * 0 + np.hypot(CORR_SE, BASELINE_SE / max(1, len(others)) ** 0.5),
            "n_models": np.where(dead, 0, len(others)).astype(np.int16),
            "n_degenerate": np.where(dead, len(others), 0).astype(np.int16),
        },
    )
