"""The plan never changes the result: random budgets, numbers of jobs and batch sizes publish the same tables."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.acceptance.ingests import assert_same, contract, rows, run_ingest, small_corpus, tiny_family

LEAST_GIB = 0.0018
"""Hardly more than the sums of one layer of these models."""


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    folder = tmp_path_factory.mktemp("plans")
    return tiny_family(folder, "abc"), small_corpus(folder, 60)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    memory=st.sampled_from([LEAST_GIB, 0.002, 0.003, 1.0]),
    jobs=st.integers(1, 7),
    batch=st.sampled_from([64, 700, 4096]),
    draws=st.just(2),
)
def test_random_plans_publish_the_same(
    database_url: str, family: tuple[list[Path], Path], memory: float, jobs: int, batch: int, draws: int
) -> None:
    models, corpus = family
    if not rows(database_url, "SELECT 1 FROM runs"):
        run_ingest(database_url, models, corpus, baseline_draws=draws, memory_gb=1.0)
    reference = contract(database_url, 1)
    report = run_ingest(
        database_url, models, corpus, baseline_draws=draws, memory_gb=memory, jobs=jobs, batch_tokens=batch, again=True
    )
    assert_same(contract(database_url, report.run_id), reference)
    planned = rows(database_url, "SELECT count(*) FROM run_jobs WHERE run_id = :run AND kind <> 'pivots'", run=report.run_id)
    assert planned[0][0] >= jobs
    assert rows(database_url, "SELECT count(*) FROM run_job_results") == [(0,)]
    assert rows(database_url, "SELECT count(*) FROM runs WHERE staging_folder IS NOT NULL") == [(0,)]
