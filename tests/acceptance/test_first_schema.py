"""The schema of a catalog that is opened for the first time: made on an embedded database, asked for on a server."""

import pytest

from catalog.server import embedded
from tests.acceptance.ingests import rows, tiny_family
from tests.commands import run_catalog
from tests.conftest import folder_of_a_server

catalog = run_catalog


@pytest.fixture
def settings(monkeypatch):
    """An environment with an empty embedded home, whose server is stopped afterwards."""
    monkeypatch.delenv("CATALOG_DATABASE_URL", raising=False)
    with folder_of_a_server() as folder:
        monkeypatch.setenv("CATALOG_HOME", str(folder))
        yield monkeypatch
        embedded.stop()


def test_an_ingest_on_an_empty_embedded_home_makes_the_schema_and_says_so(catalog, settings, tmp_path):
    for asked in ("SELECT 1", "SELECT * FROM neuron_labels"):
        answer = catalog("sql", asked)
        assert (answer.code, answer.out, answer.err) == (1, "", "error: the schema is missing; run `catalog db upgrade`.\n")
    reader = {row["check"]: row["mend"] for row in catalog("doctor", "--format", "json").rows}["reader role"]
    assert reader == "run `catalog db upgrade`"
    (model,) = tiny_family(tmp_path, "a")
    answer = catalog("ingest", str(model), "--only", "weights", "--device", "cpu")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err.count("the embedded database was empty; its schema is made, at ") == 1
    assert [row["model"] for row in catalog("models", "--format", "json").rows] == ["tiny-a"]
    assert "schema" not in catalog("ingest", str(model), "--only", "weights", "--device", "cpu").err


def test_on_a_server_the_schema_is_asked_for_and_nothing_is_made(catalog, monkeypatch, empty_database_url, tmp_path, capsys):
    monkeypatch.setenv("CATALOG_DATABASE_URL", empty_database_url)
    (model,) = tiny_family(tmp_path, "a")
    answer = catalog("ingest", str(model), "--only", "weights", "--device", "cpu")
    assert (answer.code, answer.err) == (1, "error: the schema is missing; run `catalog db upgrade`.\n")
    assert rows(empty_database_url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]
