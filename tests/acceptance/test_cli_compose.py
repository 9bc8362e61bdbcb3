"""What the services of docker-compose.yml run, run outside Docker: the schema, then an ingest of the pocket family."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.unit.test_compose import SERVICES

ROOT = Path(__file__).parents[2]
SOME_TOKENS, FEW_TOKENS = "4096", "256"
SOME_PARTS = ("activations", "vocabulary")


def run(words: list[str], url: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CATALOG_DATABASE_URL": url, "HF_HUB_OFFLINE": "1"} | more
    program = str(Path(sys.executable).with_name(words[0]))
    return subprocess.run([program, *words[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_migrate_then_ingest(empty_database_url):
    url = empty_database_url
    migrated = run(SERVICES["migrate"]["command"], url)
    assert (migrated.returncode, migrated.stdout) == (0, ""), migrated.stderr
    # The same words as in the file; fewer tokens and parts come by the environment twins.
    fewer = {"CATALOG_INGEST_MAX_TOKENS": SOME_TOKENS, "CATALOG_INGEST_INTERVENTION_TOKENS": FEW_TOKENS}
    fewer["CATALOG_INGEST_ONLY"] = ",".join(SOME_PARTS)
    ingested = run(SERVICES["ingest"]["command"], url, **fewer)
    assert (ingested.returncode, ingested.stdout) == (0, ""), ingested.stderr
    assert "Warning" not in ingested.stderr
    models = json.loads(run(["catalog", "models", "--format", "json"], url).stdout)
    assert [model["model"] for model in models] == [f"pocket-gpt2-{seed}" for seed in "abcde"]
    again = run(SERVICES["ingest"]["command"], url, **fewer)
    assert again.returncode == 0 and "run 1" in again.stderr
    runs = json.loads(run(["catalog", "runs", "list", "--format", "json"], url).stdout)
    assert [(row["run"], row["control_of"]) for row in runs] == [(2, "1"), (1, None)]


def test_the_service_runs_what_make_pocket_runs():
    answer = subprocess.run(
        ["make", "--dry-run", "pocket"], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    assert " ".join(SERVICES["ingest"]["command"]) in answer.stdout.replace(".venv/bin/", "")
