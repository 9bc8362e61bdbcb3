"""A disk that fills while the corpus is tokenised ends in one sentence, and leaves neither rows nor files behind."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.acceptance.ingests import rows, run_ingest, small_corpus, tiny_family
from tests.database.helpers import visible
from tests.faults.launcher import Launcher

SMALL = 64 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB where we may mount one; elsewhere a folder, and a limit of files (EFBIG) stands in for it."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_is_one_sentence(
    database_url: str, engine: Engine, tmp_path: Path, small_disk: Path, launcher: Launcher
) -> None:
    models, corpus = tiny_family(tmp_path, "ab"), small_corpus(tmp_path, 600)
    before = visible(engine)
    asked = ["ingest", *map(str, models), "--corpus", str(corpus)]
    environment = {"CATALOG_HOME": str(small_disk), "CATALOG_DATABASE_URL": database_url}
    full = launcher.start(asked, environment, tmp_path / "log", file_limit=0 if os.path.ismount(small_disk) else SMALL)
    code, said = full.wait(), full.said
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert code == 1 and len(errors) == 1 and "Traceback" not in said, said
    assert "the disk is full" in errors[0] and "CATALOG_HOME" in errors[0]
    assert visible(engine) == before and rows(database_url, "SELECT count(*) FROM runs") == [(0,)]
    assert not list((small_disk / "corpora").glob("*/*")), "half-written files are left"
    assert run_ingest(database_url, models, corpus, max_tokens=2000).outcome == "published"
