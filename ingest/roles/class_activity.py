"""Whether neurons are active before the tokens that they act on (UN Fig. 25, SPEC §3.5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ingest.roles.attention import Corpus, row_batches


class ActivationModel(Protocol):
    """A checkpoint, as far as it is needed here."""

    d_mlp: int

    def visit_activations(self, tokens: Tensor, visit: Callable[[int, Tensor, Tensor], None]) -> None: ...


@dataclass(frozen=True)
class ClassActivity:
    """One float64 value per neuron asked for, NaN where a side has no token."""

    n_in: Int64[np.ndarray, " asked"]
    """Kept tokens before a token of the neuron's class."""
    n_out: Int64[np.ndarray, " asked"]
    mean_in: Float[np.ndarray, " asked"]
    """Mean pre before them, and before others."""
    mean_out: Float[np.ndarray, " asked"]
    freq_in: Float[np.ndarray, " asked"]
    """Fraction with pre > 0."""
    freq_out: Float[np.ndarray, " asked"]
    cohen_d: Float[np.ndarray, " asked"]
    """Difference of the means over the pooled population standard deviation; NaN where nothing varies."""


@torch.inference_mode()
def class_activity(
    model: ActivationModel,
    corpus: Corpus,
    neurons: Sequence[int],
    class_of: Sequence[int],
    classes: Bool[np.ndarray, "classes ids"],
    n_tokens: int,
    batch_tokens: int,
    device: torch.device,
    advance: Callable[[int], None] = lambda tokens: None,
) -> ClassActivity:
    """Pre-activations at kept tokens (M_corr, and not the last of a row), by whether the next token is in the class.

    Args:
        neurons: flat indices.
        class_of: row of `classes` for each of them.
        classes: which token ids each class has; all ids that the corpus holds.
        n_tokens: rows are taken until they hold this many tokens, or there are no more.
    """
    flat, class_index = torch.tensor(neurons, device=device), torch.tensor(class_of, device=device)
    members = torch.from_numpy(classes).to(device)
    # for both sides: tokens, sum of pre, sum of its squares, active
    sums = torch.zeros(2, 4, len(neurons), dtype=torch.float64, device=device)
    by_layer = {layer: (flat // model.d_mlp == layer).nonzero().squeeze(1) for layer in set((flat // model.d_mlp).tolist())}
    for _, rows in row_batches(corpus, n_tokens, batch_tokens):
        tokens = torch.from_numpy(rows).to(device)
        counted = torch.from_numpy(corpus.kept_mask(rows)).to(device)
        counted[:, -1] = False
        following = members[:, tokens.roll(-1, 1)[counted]]
        places = counted.flatten().nonzero().squeeze(1)

        def seen(layer: int, pre: Tensor, post: Tensor, places: Tensor = places, following: Tensor = following) -> None:
            if layer not in by_layer:
                return
            asked = by_layer[layer]
            values = pre[places][:, flat[asked] % model.d_mlp].double()
            inside = following[class_index[asked]].T
            for side, chosen in enumerate((inside, ~inside)):
                held = values.where(chosen, 0.0)
                active = ((values > 0) & chosen).sum(0)
                sums[side, :, asked] += torch.stack([chosen.sum(0), held.sum(0), (held**2).sum(0), active])

        model.visit_activations(tokens, seen)
        advance(rows.size)
    return _result(sums.cpu().numpy())


def _result(sums: Float[np.ndarray, "2 4 asked"]) -> ClassActivity:
    n, total, squares, active = sums.transpose(1, 0, 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, share = total / n, active / n
        within = (squares - n * mean**2).sum(0) / n.sum(0)
        spread = np.sqrt(np.where(within > 1e-12 * squares.sum(0) / n.sum(0), within, np.nan))
        effect = (mean[0] - mean[1]) / spread
    counts = n.astype(np.int64)
    return ClassActivity(counts[0], counts[1], mean[0], mean[1], share[0], share[1], effect)
