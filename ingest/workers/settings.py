"""What a worker was started with, and whether it can work so: known before torch is imported."""

from dataclasses import dataclass

from catalog.errors import InputError
from ingest.settings import check_device_name, check_interval, check_memory


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker was started with."""

    device: str = "auto"
    memory_gb: float | None = None
    concurrency: int = 1
    until_empty: bool = False
    threads: int | None = None
    """Threads of each computation on the CPU; None: as many as there are cores."""
    heartbeat_seconds: float = 10.0
    stalled_seconds: float = 30.0
    """A worker that was not heard of for so long is given up, and its jobs go to others."""
    checkpoint_minutes: float | None = None
    """None: as the run says."""
    database_url: str | None = None

    def validate(self) -> None:
        """Raises:
        InputError: a setting is outside its range; the sentence names value and range.
        """
        check_device_name(self.device)
        check_memory(self.memory_gb)
        for option, value in (("--heartbeat", self.heartbeat_seconds), ("--stalled", self.stalled_seconds)):
            check_interval(option, value)
        if self.checkpoint_minutes is not None:
            check_interval("--checkpoint-minutes", self.checkpoint_minutes)
        if self.stalled_seconds <= self.heartbeat_seconds:
            raise InputError(
                f"--stalled {self.stalled_seconds:g} would give up workers between two signs of life, which come every "
                f"{self.heartbeat_seconds:g} s; give more than --heartbeat."
            )
