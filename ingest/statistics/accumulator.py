"""What all sums over tokens have in common: those of some tokens are put together with those of others.

state     the live sums, by name: for checkpoints, and for jobs that put the sums of ranges of rows together
merge     the state of other tokens
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


class Accumulator:
    """Sums over tokens."""

    def state(self) -> dict[str, Tensor]:
        """The live sums, which may be added to."""
        raise NotImplementedError

    def merge(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put in the whole state of other tokens, about the same pivot; sums add up."""
        live = self.state()
        for name, values in arrays.items():
            live[name] += torch.from_numpy(values).to(live[name].device)
