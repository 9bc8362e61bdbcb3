"""What a head does without one neuron's contribution to its query (UN §5.3, SPEC §9.3).

post_i(d)·w_out(i) is taken out of the residual that enters attention layer A, for the query of destination d alone; keys and
values stay. As only the query of d changes, all destinations are ablated in one pass. With u = (x - x̄) W_Q and the centred
W_out, the ablated query is (u - a·w_out W_Q)/σ' + b_Q, and d_model·(σ'² - ε) = ‖x - x̄‖² - 2a·x·w_out + a²‖w_out‖², so a neuron
costs d_head and not d_model numbers a token. Where post is 0, every number is that of the clean run, to the last bit.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ingest.roles.attention import (
    AttentionModel,
    Corpus,
    LayerAttention,
    causal_mask,
    layer_attention,
    rotation,
    row_batches,
    rows_needed,
    squared_norm,
    visit_attention,
)
from ingest.roles.heads import Pair, check_pair
from ingest.roles.path_summary import PathAblation, summarise
from ingest.statistics.hashing import place_hashes

MEASURES = ("p_bos", "z_norm", "o_norm")


@dataclass(frozen=True)
class PathPoints:
    """One pair at every destination, in order of row and position; float32."""

    pair: Pair
    act: Float[np.ndarray, " n"]
    """post of the neuron at the destination."""
    p_bos: Float[np.ndarray, " n"]
    """Attention to position 0 in the clean run."""
    z_norm: Float[np.ndarray, " n"]
    """‖z‖ of the clean run: what the head mixes from values, before W_O; value biases are folded away."""
    o_norm: Float[np.ndarray, " n"]
    """‖W_O z‖ of the clean run."""
    delta_p_bos: Float[np.ndarray, " n"]
    """Ablated minus clean, here and below."""
    delta_z_norm: Float[np.ndarray, " n"]
    delta_o_norm: Float[np.ndarray, " n"]


def ablate_paths(
    model: AttentionModel,
    corpus: Corpus,
    pairs: Sequence[Pair],
    special_ids: Collection[int],
    n_tokens: int,
    batch_tokens: int,
    device: torch.device,
    advance: Callable[[int], None] | None = None,
    most_points: int | None = None,
    seed: int = 0,
) -> list[PathAblation]:
    """Ablate pairs on the first rows of a corpus, and summarise each; arguments and errors as in `path_points`."""
    points = path_points(
        model, corpus, pairs, special_ids, n_tokens, batch_tokens, device, advance=advance, most_points=most_points, seed=seed
    )
    return [summarise(**vars(of_pair)) for of_pair in points]


@torch.inference_mode()
def path_points(
    model: AttentionModel,
    corpus: Corpus,
    pairs: Sequence[Pair],
    special_ids: Collection[int],
    n_tokens: int,
    batch_tokens: int,
    device: torch.device,
    advance: Callable[[int], None] | None = None,
    most_points: int | None = None,
    seed: int = 0,
) -> list[PathPoints]:
    """The single numbers of every pair at every destination: p ≥ T/2, and no special token there (M_half, SPEC §0.3).

    Args:
        model: a processed checkpoint, on `device`.
        special_ids: ids of BOS, EOS and PAD.
        n_tokens: rows are taken until they hold this many tokens, or there are no more.
        batch_tokens: about how many tokens go through the model at a time.
        advance: told the number of tokens that are done.
        most_points: the same random destinations for all pairs, this many of them; None: all.
        seed: of the random destinations.
    Returns:
        In the order of `pairs`.
    Raises:
        ValueError: a pair that the model does not have, or whose head is not in a later layer than its neuron.
    """
    for pair in pairs:
        check_pair(model.n_layers, model.d_mlp, model.n_heads, pair, model.parallel_attention)
    passing = _Pass(model, list(dict.fromkeys(pairs)), corpus.tokens.shape[1], device)
    chosen = _destinations(corpus, rows_needed(corpus, n_tokens), special_ids, most_points, seed)
    for start, rows in row_batches(corpus, n_tokens, batch_tokens):
        passing.run(torch.from_numpy(rows).to(device), torch.from_numpy(chosen[start : start + len(rows)]).to(device))
        if advance is not None:
            advance(rows.size)
    return [passing.points(pair) for pair in pairs]


class _Pass:
    """Ablations of many pairs in one run of the model; each layer's keys and values are computed once."""

    def __init__(self, model: AttentionModel, pairs: list[Pair], context: int, device: torch.device) -> None:
        self.model, self.context = model, context
        self.first = (context + 1) // 2
        self.causal = causal_mask(context, self.first, device)
        self.turn = rotation(model, context)
        self.heads: dict[int, dict[int, list[Pair]]] = {}
        self.indices: dict[int, list[int]] = {}
        for pair in sorted(pairs):
            self.heads.setdefault(pair.head_layer, {}).setdefault(pair.head, []).append(pair)
            if pair.index not in self.indices.setdefault(pair.layer, []):
                self.indices[pair.layer].append(pair.index)
        self.measured: dict[Pair, list[np.ndarray]] = {pair: [] for pair in pairs}

    def run(self, tokens: Int[Tensor, "rows context"], chosen: Bool[Tensor, "rows destinations"]) -> None:
        """Add the chosen destinations of a batch of rows."""
        post: dict[tuple[int, int], Tensor] = {}

        def leave(layer: int, _: Tensor, values: Tensor) -> None:
            for index in self.indices.get(layer, []):
                post[layer, index] = values[:, index].reshape(tokens.shape)[:, self.first :].clone()

        def enter(layer: int, residual: Tensor) -> None:
            if layer in self.heads:
                self._ablate_layer(layer, residual, post, chosen)

        visit_attention(self.model, tokens, enter, leave)

    def points(self, pair: Pair) -> PathPoints:
        """All that was found."""
        held = np.concatenate([np.empty((7, 0), dtype=np.float32), *self.measured[pair]], axis=1)
        return PathPoints(pair, *held)

    def _ablate_layer(self, layer: int, residual: Tensor, post: dict[tuple[int, int], Tensor], chosen: Tensor) -> None:
        attention = layer_attention(self.model, layer, self.turn)
        normalised = attention.norm.without_gain(residual)
        late = attention.norm.centre(residual[:, self.first :])
        squares = squared_norm(late)
        for head, pairs in self.heads[layer].items():
            view = _Head(attention, head, normalised, self.model.weights.W_O[layer, head], self.causal, self.first)
            reads = late @ attention.W_Q[head]
            clean = view.measure(reads, attention.scale_of(squares))
            for pair in pairs:
                act, w_out = post[pair.layer, pair.index], self.model.weights.W_out[pair.layer, pair.index]
                removed = act.double() * (act.double() * squared_norm(w_out) - 2 * (late @ w_out).double())
                left = reads - act[..., None] * (w_out @ attention.W_Q[head])
                ablated = view.measure(left, attention.scale_of((squares + removed).clamp_min(0)))
                held = torch.cat([act.double()[None], clean, ablated - clean])
                self.measured[pair].append(held[:, chosen].float().cpu().numpy())


class _Head:
    """Keys and values of one head on a batch; measures what queries make of them."""

    def __init__(
        self, attention: LayerAttention, head: int, normalised: Tensor, w_o: Tensor, causal: Tensor, first: int
    ) -> None:
        self.attention, self.head, self.causal, self.first = attention, head, causal, first
        self.keys = attention.keys(normalised, head)
        self.values = attention.values(normalised, head)
        # ‖z W_O‖ = ‖z Rᵀ‖ with W_Oᵀ = QR, in d_head dimensions
        self.mix = torch.linalg.qr(w_o.double().T).R.T

    def measure(self, reads: Tensor, divisor: Tensor) -> Float[Tensor, "measures rows destinations"]:
        """MEASURES, float64, of queries from `reads` (see `LayerAttention.queries`)."""
        queries = self.attention.queries(reads, divisor, self.head, self.first)
        pattern = self.attention.pattern(queries, self.keys, self.causal)
        z = (pattern @ self.values).double()
        return torch.stack([pattern[..., 0].double(), z.norm(dim=-1), (z @ self.mix).norm(dim=-1)])


def _destinations(
    corpus: Corpus, n_rows: int, special_ids: Collection[int], most: int | None, seed: int
) -> Bool[np.ndarray, "rows destinations"]:
    """Which destinations p ≥ T/2 count."""
    context = corpus.tokens.shape[1]
    first = (context + 1) // 2
    chosen = ~np.isin(corpus.tokens[:n_rows, first:], np.array(sorted(special_ids)))
    places = np.flatnonzero(chosen)
    if most is not None and len(places) > most:
        # numbered by row and position, so that more rows leave the hashes of the first ones as they are
        row, late = np.divmod(places, context - first)
        hashes = place_hashes(torch.from_numpy(row * context + first + late), seed).numpy()
        chosen[:] = False
        chosen.ravel()[places[np.argsort(hashes, kind="stable")[:most]]] = True
    return chosen
