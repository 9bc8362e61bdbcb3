"""Where the jobs of a run leave what they found: small results in the database, large sums in the staging folder."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Engine
from torch import Tensor

from catalog.errors import RunError
from catalog.runs import jobs
from ingest.jobs import sums_files
from ingest.plan.items import Job


@dataclass(frozen=True)
class RunStore:
    """Results and sums of one run's jobs."""

    engine: Engine
    run_id: int
    folder: Path
    """The run's own folder below the staging folder."""

    def results(self, name: str) -> list[bytes]:
        """What finished jobs found under a name, which may end in %, in order of jobs."""
        with self.engine.connect() as connection:
            return jobs.results(connection, self.run_id, name)

    def sums(self, numbers: Iterable[int], names: list[str] | None = None) -> Iterator[tuple[str, np.ndarray]]:
        """Arrays that these jobs left, file after file.

        Raises:
            RunError: a file is damaged or gone; the jobs are marked as not done.
        """
        wanted = list(numbers)
        with self.engine.connect() as connection:
            files = jobs.sums_files(connection, self.run_id, wanted)
        try:
            for file in files:
                yield from sums_files.read(self.folder / file, names)
        except RunError:
            with self.engine.begin() as connection:
                jobs.forget(connection, self.run_id, wanted)
            raise

    def leave(self, job: Job, arrays: Mapping[str, Tensor]) -> str:
        """Write the sums of a job for others; returns the name of the file."""
        name = f"sums-{job.number}.npz"
        sums_files.write(self.folder / name, arrays)
        return name

    # --- checkpoints inside a job ---

    def checkpoint(self, job: Job, next_row: int, arrays: Mapping[str, Tensor]) -> None:
        """Save how far a job is, in place of its earlier checkpoint."""
        sums_files.write(self._checkpoint(job), {"next_row": np.array(next_row), **arrays})

    def resume(self, job: Job) -> tuple[int, Iterator[tuple[str, np.ndarray]]] | None:
        """First row that is still to be done, and the sums of those before; None if there is no usable checkpoint."""
        path = self._checkpoint(job)
        if not path.exists():
            return None
        try:
            arrays = sums_files.read(path)
            _, next_row = next(arrays)
            for _ in arrays:
                """Every array is checked before the first is used."""
        except RunError:
            return None
        rest = sums_files.read(path)
        next(rest)
        return int(next_row), rest

    def has_checkpoints(self) -> bool:
        """Whether a job was interrupted after it saved its sums."""
        return any(self.folder.glob("checkpoint-*.npz"))

    def drop_checkpoint(self, job: Job) -> None:
        """The job is done."""
        self._checkpoint(job).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the run's folder."""
        with suppress(FileNotFoundError, NotADirectoryError):
            shutil.rmtree(self.folder)

    def _checkpoint(self, job: Job) -> Path:
        return self.folder / f"checkpoint-{job.number}.npz"
