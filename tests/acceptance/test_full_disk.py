"""A disk that fills while the corpus is tokenised ends in one sentence, and leaves neither rows nor files behind."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.acceptance.ingests import rows, run_ingest, small_corpus, tiny_family
from tests.database.helpers import visible

ROOT = Path(__file__).parents[2]
SMALL = 64 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB where we may mount one; elsewhere a folder, and `limit` below stands in for it."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", folder], check=True)


def limit() -> None:
    """No file of the child may grow beyond the disk's size: the same fault by another errno (EFBIG)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, SMALL))


def test_a_disk_that_fills_is_one_sentence(database_url: str, engine: Engine, tmp_path: Path, small_disk: Path) -> None:
    models, corpus = tiny_family(tmp_path, "ab"), small_corpus(tmp_path, 600)
    before = visible(engine)
    full = subprocess.run(
        [sys.executable, "-c", "from cli.main import main; main()", "ingest", *map(str, models), "--corpus", str(corpus)],
        cwd=ROOT,
        env={**os.environ, "CATALOG_HOME": str(small_disk), "CATALOG_DATABASE_URL": database_url, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        preexec_fn=None if os.path.ismount(small_disk) else limit,
    )
    errors = [line for line in full.stderr.splitlines() if line.startswith("error:")]
    assert full.returncode == 1 and len(errors) == 1 and "Traceback" not in full.stderr, full.stderr
    assert "the disk is full" in errors[0] and "CATALOG_HOME" in errors[0]
    assert visible(engine) == before and rows(database_url, "SELECT count(*) FROM runs") == [(0,)]
    assert not list((small_disk / "corpora").glob("*/*")), "half-written files are left"
    assert run_ingest(database_url, models, corpus, max_tokens=2000).outcome == "published"
