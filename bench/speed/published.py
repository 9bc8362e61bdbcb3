"""The published procedure for neuron correlations, written plainly (Universal Neurons, appendix B.2), to compare with.

For each direction one pass over the activations for the correlation matrix, and a second one, in which every layer of the
other model is rotated, for the baseline. Activations are fp16, products per pair of layers fp32, sums float64. The layers
are multiplied and added as whole blocks; nothing is slowed down on purpose.
"""

import torch
from torch import Tensor

BATCH = 12_288
"""Tokens: 24 rows of 512, as published."""
TOP = 50


def correlations(x: Tensor, y: Tensor, width: int, rotations: list[Tensor] | None = None) -> Tensor:
    """All correlations of two models, or of one model with the rotated layers of the other.

    Args:
        x, y: (tokens, layers * width) fp16.
        rotations: per layer of y, (width, width) fp32.
    Returns:
        (neurons of x, neurons of y) float64.
    """
    n_x, n_y = x.shape[1], y.shape[1]
    s_x, s_xx = torch.zeros(2, n_x, dtype=torch.float64)
    s_y, s_yy = torch.zeros(2, n_y, dtype=torch.float64)
    s_xy = torch.zeros(n_x, n_y, dtype=torch.float64)
    for start in range(0, len(x), BATCH):
        xs = x[start : start + BATCH].float().split(width, dim=1)
        ys = list(y[start : start + BATCH].float().split(width, dim=1))
        if rotations is not None:
            ys = [layer @ rotation.T for layer, rotation in zip(ys, rotations, strict=True)]
        s_x += torch.cat([layer.sum(0) for layer in xs]).double()
        s_xx += torch.cat([layer.square().sum(0) for layer in xs]).double()
        s_y += torch.cat([layer.sum(0) for layer in ys]).double()
        s_yy += torch.cat([layer.square().sum(0) for layer in ys]).double()
        for i, x_layer in enumerate(xs):
            for j, y_layer in enumerate(ys):
                s_xy[i * width : (i + 1) * width, j * width : (j + 1) * width] += x_layer.T @ y_layer
    n = len(x)
    s_xy -= torch.outer(s_x, s_y) / n
    s_xy *= (s_xx - s_x**2 / n).rsqrt()[:, None]
    s_xy *= (s_yy - s_y**2 / n).rsqrt()[None, :]
    return s_xy


def both_directions(x: Tensor, y: Tensor, width: int, rotations: tuple[list[Tensor], list[Tensor]]) -> list[Tensor]:
    """Best partners and largest rotated correlations of x in y and of y in x.

    Args:
        rotations: of the layers of y, for the neurons of x; and of the layers of x.
    Returns:
        top values and indices of x, baseline of x; the same of y.
    """
    results: list[Tensor] = []
    for mine, other, turned in ((x, y, rotations[0]), (y, x, rotations[1])):
        top = correlations(mine, other, width).topk(TOP, dim=1)
        baseline = correlations(mine, other, width, turned).amax(1)
        results += [top.values, top.indices, baseline]
    return results
