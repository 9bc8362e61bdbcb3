"""Loops of the CPU are of one thread each; several run at a time where they touch different memory."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch


def _without_gradients(task: Callable[[], None]) -> None:
    """Inference mode is a thread's own."""
    with torch.inference_mode():
        task()


class Threads:
    """As many threads as torch has on a CPU; a GPU is told what to do by one."""

    def __init__(self, device: torch.device) -> None:
        self.number = torch.get_num_threads() if device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(self.number) if self.number > 1 else None

    def together(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Do what touches different sums, as many at a time as there are threads; each sum is added to in order."""
        if self._pool is None or len(tasks) < 2:
            for task in tasks:
                task()
        else:
            list(self._pool.map(_without_gradients, tasks))
