"""Bad input: one sentence on stderr, an exit code that is not 0, nothing on stdout, no traceback, nothing written."""

import socket

import pytest

from tests.commands import run_catalog, use_published_family
from tests.database.helpers import execute
from tests.published_rows import MODELS, N_LAYERS

settings = use_published_family
catalog = run_catalog

FAMILIES = "alphabet (3 neurons), "


def is_one_sentence(text: str) -> bool:
    return text.startswith("error: ") and text.endswith(".\n") and text.count("\n") == 1 and "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["find", "--family", "alphabt"], f"there is no family 'alphabt' (did you mean alphabet?); the catalog has {FAMILIES}"),
        (["find", "--model", "gpt5"], f"there is no model 'gpt5'; the catalog has {', '.join(MODELS)}"),
        (["find", "--run", "99"], "there is no published run 99"),
        (["find", "--layer", "5-3"], "--layer '5-3' is no range of layers"),
        (["find", "--layer", "three"], "--layer 'three' is no range of layers"),
        (["find", "--sort", "size"], "--sort 'size' is no order; choose from score, excess, neuron"),
        (["universal", "--model", "gpt5"], "there is no model 'gpt5'"),
        (["families", "--model", "gpt5"], "there is no model 'gpt5'"),
        (["families", "--by", "colour"], "--by 'colour' is no way to count; choose from layer, model."),
        (["layers", "--run", "99"], "there is no published run 99"),
        (["depth", "--model", "gpt5"], "there is no model 'gpt5'"),
        (["groups", "--model", "gpt5"], "there is no model 'gpt5'"),
        (["show", MODELS[0], f"{N_LAYERS}.0"], "its layers are 0 to 1, its neurons 0 to 15"),
        (["show", MODELS[0], "1.99"], "its layers are 0 to 1, its neurons 0 to 15"),
        (["show", MODELS[0], "1"], "'1' is no LAYER.INDEX"),
        (["show", MODELS[0], "1.01"], "'1.01' is no LAYER.INDEX"),
        (["show", "gpt5", "1.1"], "there is no model 'gpt5'"),
        (["ablate", MODELS[0], "0.1", "A1.1"], "'A1.1' is no LAYER.HEAD"),
        (["ablate", MODELS[0], "9.9", "1.0"], "its layers are 0 to 1"),
        (["ablate", MODELS[0], "1.1", "1.0"], "is in the last layer, after which no attention comes"),
        (["intervene", MODELS[0], "9.9"], "its layers are 0 to 1"),
        (["matches", MODELS[0], "9.9"], "its layers are 0 to 1"),
        (["matches", MODELS[0], "1.1", "--other-model", "gpt5"], "there is no model 'gpt5'"),
        (["runs", "show", "99"], "there is no"),
        (["runs", "delete", "99", "--yes"], "there is no run 99"),
        (["rules", "set", "alphabet.colour", "1"], "there is no rule 'alphabet.colour'; the rules are alphabet.min_"),
        (["rules", "set", "alphabet.min_variance_reduction", "nan"], "no threshold"),
        (["sql", "DELETE FROM labels"], "`catalog sql` only reads"),
        (["sql", "SELEC 1"], "the statement fails"),
        (["sql", "SELECT 1; DELETE FROM labels"], "the statement fails"),
        (["sql", ""], "returns no rows"),
        (["sql", "RESET ROLE"], "returns no rows"),
        (["ingest", "a", "--only", "colours", "--corpus", "x"], "--only 'colours' is no part of a run"),
        (["ingest", "a", "b", "--top-k", "0", "--corpus", "x"], "--top-k 0 is too small"),
        (["ingest", "a", "b", "--ngram-tokens", "0", "--corpus", "x"], "--ngram-tokens 0 is too small"),
        (["ingest", "a", "b"], "--corpus is missing"),
        (["ingest", "a", "b", "--corpus", "x", "--spacy-model", "xx_none"], "is not installed; run `pip install xx-none`"),
        (["ingest", "a", "b", "--corpus", "x", "--spacy-model", "de_core_news_md"], "/de_core_news_md-3."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_one_sentence(catalog, arguments, said):
    answer = catalog(*arguments)
    assert (answer.code, answer.out) == (1, "")
    assert is_one_sentence(answer.err), answer.err
    assert said in answer.err


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO rule_versions (version) VALUES (9)",
        "WITH gone AS (DELETE FROM labels RETURNING *) SELECT count(*) FROM gone",
        "SELECT nextval('runs_id_seq')",
        "CREATE TABLE mine (x int)",
        "COPY (SELECT 1) TO PROGRAM 'touch /tmp/never'",
        "SET SESSION AUTHORIZATION postgres",
        "COMMIT; DELETE FROM labels",
        "TRUNCATE labels",
    ],
)
def test_sql_that_writes_changes_nothing(catalog, statement):
    before = catalog("find", "--limit", "0", "--format", "csv").out
    answer = catalog("sql", statement)
    assert (answer.code, answer.out) == (1, "")
    assert is_one_sentence(answer.err), answer.err
    assert catalog("find", "--limit", "0", "--format", "csv").out == before


def closed_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


COMMANDS = [
    ["find"],
    ["show", "a", "1.1"],
    ["ablate", "a", "0.1", "1.0"],
    ["universal"],
    ["families"],
    ["models"],
    ["runs", "list"],
    ["rules", "list"],
    ["relabel"],
    ["report"],
    ["findings"],
    ["db", "check"],
    ["db", "upgrade"],
    ["sql", "SELECT 1"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_database_that_cannot_be_reached_keeps_its_password(catalog, settings, arguments):
    settings.setenv("CATALOG_DATABASE_URL", f"postgresql://me:s3cret@127.0.0.1:{closed_port()}/catalog")
    settings.setenv("CATALOG_READER_PASSWORD", "s3cret")
    answer = catalog(*arguments)
    assert (answer.code, answer.out) == (1, "")
    assert is_one_sentence(answer.err), answer.err
    assert "cannot be reached" in answer.err and "s3cret" not in answer.err


@pytest.fixture
def no_look_at_devices(monkeypatch):
    """`catalog doctor` starts a process that says nothing of torch, whose import takes seconds: another test reads that."""
    monkeypatch.setattr("cli.checks._DEVICE_PROGRAM", "print('cpu')")


def test_doctor_names_what_mends_an_unreachable_database(catalog, settings, no_look_at_devices):
    settings.setenv("CATALOG_DATABASE_URL", f"postgresql://me:s3cret@127.0.0.1:{closed_port()}/catalog")
    answer = catalog("doctor", "--format", "json")
    assert answer.code == 1 and "s3cret" not in answer.out + answer.err
    (failed,) = [row for row in answer.rows if row["status"] == "fail"]
    assert failed["check"] == "database" and "CATALOG_DATABASE_URL" in failed["mend"]


@pytest.mark.parametrize("url", ["no url", "mysql://me:s3cret@db/c", "postgresql://me:s3cret@db:port/c"])
def test_what_is_no_database_url(catalog, settings, url):
    settings.setenv("CATALOG_DATABASE_URL", url)
    answer = catalog("find")
    assert (answer.code, answer.out) == (1, "")
    assert is_one_sentence(answer.err) and "CATALOG_DATABASE_URL" in answer.err and "s3cret" not in answer.err


@pytest.mark.parametrize("arguments", [["find"], ["models"], ["db", "check"], ["relabel"]], ids=" ".join)
def test_a_missing_or_old_schema_names_the_command_that_mends_it(catalog, settings, empty_database_url, arguments):
    settings.setenv("CATALOG_DATABASE_URL", empty_database_url)
    answer = catalog(*arguments)
    assert (answer.code, answer.out) == (1, "")
    assert is_one_sentence(answer.err) and "`catalog db upgrade`" in answer.err


def test_doctor_names_the_command_that_mends_a_schema(catalog, settings, no_look_at_devices, empty_database_url):
    settings.setenv("CATALOG_DATABASE_URL", empty_database_url)
    answer = catalog("doctor", "--format", "json")
    mends = {row["check"]: row["mend"] for row in answer.rows if row["status"] == "fail"}
    assert answer.code == 1 and "`catalog db upgrade`" in mends["schema"]


def test_views_of_other_code_name_the_command_that_mends_them(catalog, settings, no_look_at_devices, database_url, engine):
    settings.setenv("CATALOG_DATABASE_URL", database_url)
    assert catalog("db", "check").code == 0
    execute(engine, "COMMENT ON TABLE alembic_version IS NULL")
    answer = catalog("db", "check")
    assert (answer.code, answer.out) == (1, "")
    assert is_one_sentence(answer.err) and "the views are not those of this code; run `catalog db upgrade`" in answer.err
    mends = {row["check"]: row["mend"] for row in catalog("doctor", "--format", "json").rows if row["status"] == "fail"}
    assert "`catalog db upgrade`" in mends["schema"]
    assert catalog("db", "upgrade").err.startswith("the schema is at ")
    assert catalog("db", "check").code == 0


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_server_of_ones_own_is_neither_started_nor_stopped(catalog, settings, verb):
    settings.setenv("CATALOG_DATABASE_URL", "postgresql://me@127.0.0.1:1/c")
    answer = catalog("db", verb)
    assert answer.code == 1 and is_one_sentence(answer.err)
