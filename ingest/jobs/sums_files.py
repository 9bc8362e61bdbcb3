"""Sums on disk: named float64 arrays in one checked file that is either whole or not there.

The format is numpy's .npz without compression: arrays are written and read in pieces, without a second copy in memory,
and the archive holds a CRC-32 of each, which reading verifies. A file appears under its name only when it is complete and
on the disk.
"""

import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from catalog.errors import InputError, RunError

PART = ".part"
COUNT = "n_arrays"
"""Stored with the arrays, because a damaged directory of the archive may be a shorter one."""


def write(path: Path, arrays: Mapping[str, np.ndarray | Tensor]) -> int:
    """Write arrays under their names; returns the bytes of the file.

    Raises:
        InputError: there is no room, or no permission; nothing is left behind.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{path.name}.*{PART}"):
            left.unlink()  # of a process that was killed: a file has one writer at a time
        with part.open("wb") as file:
            named: dict[str, Any] = {COUNT: np.array(len(arrays)), **{name: _numpy(values) for name, values in arrays.items()}}
            np.savez(file, **named)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"the staging folder {path.parent} takes no more ({reason}); make room there and repeat the command."
        ) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return path.stat().st_size


def read(path: Path, names: list[str] | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a file, one after the other; all of them, or those of `names` that it has.

    Raises:
        RunError: the file is missing, cut short, or its bytes are not those that were written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member.removesuffix(".npy") for member in archive.namelist()]
            if len(members) != 1 + int(_array(archive, COUNT)):
                raise ValueError("arrays are missing")
            for name in members:
                if name != COUNT and (names is None or name in names):
                    yield name, _array(archive, name)
    except Exception as error:  # whatever damaged bytes make of the readers of zip and npy
        raise RunError(f"the sums in {path} cannot be read ({error}); repeat the command, which computes them again.") from None


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        values = np.lib.format.read_array(file, allow_pickle=False)
        while file.read(2**20):
            """The checksum is compared at the end of the bytes, which a damaged header would put earlier."""
    return values


def _numpy(values: np.ndarray | Tensor) -> Any:
    return values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()
