"""Units of rotated layers, made of the activations of the neurons: those that are best in draws of the baseline (SPEC 2.2)."""

from collections.abc import Callable

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from ingest.statistics.correlation import DirectedCorrelations, NeuronSums


class BestUnits:
    """In each of some draws, for some neurons the rotated unit of another model with which they correlate most."""

    index: Int64[Tensor, "neurons draws"]
    """Which of the units it is; -1 where there is none."""
    sums: NeuronSums
    """Of the units, over all tokens, about the pivot of the neurons that they are made of."""

    def __init__(
        self,
        best: DirectedCorrelations,
        draws: int,
        sums: NeuronSums,
        d_mlp: int,
        rotation: Callable[[int, int], Float32[Tensor, "rotated d_mlp"]],
    ) -> None:
        """Args:
        best: of the neurons.
        draws: how many, the first ones.
        sums: of all neurons of the other model.
        rotation: gives the rows of a layer's rotation, of a layer and a draw.
        """
        self._layers: list[tuple[slice, Tensor]] = []
        self.index = torch.full_like(best.baseline_unit[:, :draws], -1)
        self.correlations = best.baseline[:, :draws].double()
        alive = (~sums.degenerate).double()
        s_x, s_xx, n_units = [sums.s_x[:0]], [sums.s_xx[:0]], 0
        for draw in range(draws):
            units = best.baseline_unit[:, draw]
            for layer in (units[units >= 0] // d_mlp).unique().tolist():
                here = units // d_mlp == layer
                distinct, place = units[here].unique(return_inverse=True)
                neurons = slice(layer * d_mlp, (layer + 1) * d_mlp)
                mixing = rotation(layer, draw)[distinct - layer * d_mlp].double() * alive[neurons]
                self._layers.append((neurons, mixing.float().contiguous()))
                self.index[here, draw] = place + n_units
                s_x.append(mixing @ sums.s_x[neurons])
                # neurons of one unit all say the same of it
                centred = s_x[-1].index_copy(0, place, best.baseline_centred[here, draw])
                s_xx.append(centred + s_x[-1] ** 2 / sums.n)
                n_units += len(distinct)
        self.sums = NeuronSums(sums.n, torch.cat(s_x), torch.cat(s_xx))

    def activations(self, values: Float32[Tensor, "neurons tokens"]) -> Float32[Tensor, "units tokens"]:
        """Of the units, given those of all neurons about their pivot."""
        made, first = values.new_empty(len(self.sums.s_x), values.shape[1]), 0
        for neurons, mixing in self._layers:
            torch.mm(mixing, values[neurons], out=made[first : first + len(mixing)])
            first += len(mixing)
        return made
