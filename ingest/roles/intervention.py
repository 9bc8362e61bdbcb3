"""What can be done to neurons; said without torch, so that what is asked can be checked before it is imported."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ingest.checkpoints.modules import MlpPass

Change = Literal["fix", "zero", "threshold", "relu", "multiply"]
CHANGES: tuple[Change, ...] = get_args(Change)
FIXED_AT = (-0.17, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
"""Values of post at which candidates are held (SPEC §8.2)."""
CONTROLLED_AT = 6.0
"""The one of them at which they have controls."""


@dataclass(frozen=True)
class Intervention:
    """What is done to neurons, alike at every position, BOS included.

    fix: post := value. multiply: post := value·post. zero: pre := 0. threshold: pre := min(pre, value).
    relu: pre := max(pre, 0); the pre of gated neurons is what their gates read. `zero` and `relu` have no value.
    """

    change: str
    """One of CHANGES."""
    neurons: tuple[tuple[int, int], ...]
    """(layer, index) each."""
    value: float = 0.0
    along: int | None = None
    """Of one neuron: another one of its layer, along whose output weights the change is written, as long as its own."""

    def __post_init__(self) -> None:
        """Raises:
        ValueError: no such change, no neuron, one given twice, a value that is no finite fp32 number, or several neurons
            along another one.
        """
        if self.change not in CHANGES:
            raise ValueError(f"there is no intervention {self.change!r}; those that there are: {', '.join(CHANGES)}.")
        if not self.neurons or len(set(self.neurons)) != len(self.neurons):
            raise ValueError("an intervention needs at least one neuron, and each neuron once.")
        if not abs(self.value) <= float(np.finfo(np.float32).max):
            raise ValueError(f"an intervention cannot take the value {self.value}; give a finite number.")
        if self.along is not None and len(self.neurons) > 1:
            raise ValueError("what several neurons write cannot be written along another one.")

    @property
    def first_layer(self) -> int:
        return min(layer for layer, _ in self.neurons)

    def in_layer(self, layer: int) -> list[int]:
        """Indices of its neurons there."""
        return [index for place, index in self.neurons if place == layer]

    def written_in(self, layer: int) -> list[int]:
        """Indices of the neurons along whose output weights its changes of a layer are written."""
        return self.in_layer(layer) if self.along is None else [self.along]

    def new_post(self, activation: "nn.Module", shown: "MlpPass") -> "Tensor":
        """post after the intervention, of what its neurons show, any shape."""
        import torch

        if self.change == "fix":
            return torch.full_like(shown.post, self.value)
        if self.change == "multiply":
            return self.value * shown.post
        changed = {"zero": torch.zeros_like, "threshold": lambda x: x.clamp(max=self.value), "relu": lambda x: x.clamp(min=0)}
        # not through __call__, whose hooks may be what asks
        new = activation.forward(changed[self.change](shown.pre))
        assert isinstance(new, torch.Tensor)
        return new if shown.read is None else new * shown.read
