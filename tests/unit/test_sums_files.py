"""Sums on disk: damage is noticed, a file is whole or not there, a full disk leaves what was."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from catalog.errors import InputError, RunError
from ingest.jobs import sums_files
from ingest.jobs.staging_folder import check_writable

ARRAYS = {"own:0:1/total": np.arange(12.0).reshape(3, 4), "n": np.array(7)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "sums-3.npz"
    sums_files.write(path, ARRAYS)
    return path


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 1 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def same(path: Path) -> bool:
    found = dict(sums_files.read(path))
    return found.keys() == ARRAYS.keys() and all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)


def test_round_trip(tmp_path: Path, file: Path) -> None:
    assert same(file)
    assert [name for name, _ in sums_files.read(file, ["n", "unknown"])] == ["n"]
    tensors = {"x": torch.arange(3, dtype=torch.float64)}
    assert sums_files.write(tmp_path / "tensor.npz", tensors) == (tmp_path / "tensor.npz").stat().st_size
    ((name, values),) = sums_files.read(tmp_path / "tensor.npz")
    assert name == "x" and values.dtype == np.float64 and values.tolist() == [0, 1, 2]


def test_every_truncation_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(RunError, match="computes them again"):
            list(sums_files.read(file))


def test_no_flipped_bit_changes_a_sum(file: Path) -> None:
    whole = file.read_bytes()
    noticed = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        try:
            assert same(file), f"byte {place} changed the sums without a word"
        except RunError:
            noticed += 1
    assert noticed > 0.5 * len(whole)


def test_a_missing_file_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="sums-9"):
        list(sums_files.read(tmp_path / "sums-9.npz"))


def test_a_full_disk_leaves_the_earlier_file(file: Path, full_disk: None) -> None:
    with pytest.raises(InputError, match=f"the staging folder {file.parent} takes no more"):
        sums_files.write(file, {"large": np.zeros(10_000)})
    assert same(file) and list(file.parent.iterdir()) == [file]


def test_what_a_killed_process_left_is_cleared_by_the_next(file: Path) -> None:
    left, of_another = file.with_name("sums-3.npz.0a1b2c3d.part"), file.with_name("sums-31.npz.0a1b2c3d.part")
    for part in (left, of_another):
        part.write_bytes(b"half")
    sums_files.write(file, ARRAYS)
    assert same(file) and not left.exists() and of_another.exists()


@pytest.mark.parametrize("name", ["/dev/null/sums", "/proc/sums"])
def test_a_folder_that_cannot_be_written(name: str) -> None:
    with pytest.raises(InputError, match=f"the staging folder {name} cannot be written"):
        check_writable(Path(name))
