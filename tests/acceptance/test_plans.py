"""The plan never changes the result: random budgets, numbers of jobs and batch sizes publish the same tables."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.acceptance.ingests import assert_same, contract, rows, run_ingest, small_corpus, tiny_family
from tests.evidence import write_table

pytestmark = pytest.mark.usefixtures("two_threads")

LEAST_GIB = 0.0018
"""Hardly more than the sums of one layer of these models."""


DRAWS = 2
PLANS = st.fixed_dictionaries(
    {
        "memory_gb": st.sampled_from([LEAST_GIB, 0.002, 0.003, 1.0]),
        "jobs": st.integers(1, 7),
        "batch_tokens": st.sampled_from([64, 700, 4096]),
    }
)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    folder = tmp_path_factory.mktemp("plans")
    return tiny_family(folder, "abc"), small_corpus(folder, 30)


def test_some_plans_publish_the_same(database_url: str, family: tuple[list[Path], Path]) -> None:
    models, corpus = family
    for plan in ({"memory_gb": 0.002, "jobs": 5, "batch_tokens": 300}, {"memory_gb": 1.0, "jobs": 2, "batch_tokens": 64}):
        publishes_the_same(database_url, models[:2], corpus, plan)


@pytest.mark.evidence
def test_random_plans_publish_the_same(database_url: str, family: tuple[list[Path], Path]) -> None:
    tried: list[tuple[object, ...]] = []

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(plan=PLANS)
    def publish(plan: dict[str, float]) -> None:
        publishes_the_same(database_url, *family, plan)
        tried.append((plan["memory_gb"], plan["jobs"], plan["batch_tokens"], "equal"))

    publish()
    titles = ("memory in GiB", "jobs", "tokens in a batch", "published tables")
    write_table("Random plans and one plan of large batches", titles, list(dict.fromkeys(tried)))


def publishes_the_same(database_url: str, models: list[Path], corpus: Path, plan: dict[str, float]) -> None:
    """By this plan as by one with memory for all of it at once; nothing is left behind."""
    if not rows(database_url, "SELECT 1 FROM runs"):
        run_ingest(database_url, models, corpus, baseline_draws=DRAWS, memory_gb=1.0)
    reference = contract(database_url, 1)
    report = run_ingest(database_url, models, corpus, baseline_draws=DRAWS, again=True, **plan)
    assert_same(contract(database_url, report.run_id), reference)
    planned = rows(database_url, "SELECT count(*) FROM run_jobs WHERE run_id = :run AND kind <> 'pivots'", run=report.run_id)
    assert planned[0][0] >= plan["jobs"]
    assert rows(database_url, "SELECT count(*) FROM run_job_results") == [(0,)]
    assert rows(database_url, "SELECT count(*) FROM runs WHERE staging_folder IS NOT NULL") == [(0,)]
