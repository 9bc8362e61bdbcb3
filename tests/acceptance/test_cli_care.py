"""Commands that look after a catalog: databases, rules, runs."""

import io

import pytest

from tests.commands import family_copy, run_catalog, use_published_family
from tests.published_rows import D_MLP, MODELS, N_LAYERS

settings = use_published_family
catalog = run_catalog
copied = family_copy


def test_db_commands(catalog):
    assert catalog("db", "check").err.startswith("the schema is at ")
    assert "already" in catalog("db", "upgrade").err


def test_the_embedded_server_is_found(catalog, settings):
    settings.delenv("CATALOG_DATABASE_URL")
    assert "embedded PostgreSQL" in catalog("db", "start").err
    assert "already" in catalog("db", "start").err
    assert catalog("db", "url").out.startswith("postgresql://postgres@/catalog?host=")


def test_url_hides_the_password_unless_asked(catalog, settings):
    settings.setenv("CATALOG_DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/c")
    assert catalog("db", "url").out == "postgresql://me@127.0.0.1:1/c\n"
    assert catalog("db", "url", "--show-password").out == "postgresql://me:secret@127.0.0.1:1/c\n"


def test_rules_are_drafted_applied_and_published(catalog, family_copy):
    assert len(catalog("find", "--family", "alphabet", "--format", "jsonl").out.splitlines()) == 3
    answer = catalog("rules", "set", "alphabet.min_variance_reduction", "0.9")
    assert (answer.code, answer.out) == (0, "") and "`catalog relabel`" in answer.err
    assert len(catalog("find", "--family", "alphabet", "--format", "jsonl").out.splitlines()) == 3
    counts = {row["family"]: row["labels"] for row in catalog("relabel", "--format", "json").rows}
    assert counts["alphabet"] == counts["token_detector"] == 0
    assert {family: n for family, n in counts.items() if n} == {"unigram": 3, "token_class": 3, "previous_token": 3}
    answer = catalog("find", "--family", "alphabet")
    assert answer == (0, "", "looked for, and none found: no label of run 1 meets --family alphabet\n")
    versions = {row["rule_version"]: row["status"] for row in catalog("rules", "list", "--all", "--format", "json").rows}
    assert versions == dict.fromkeys((1, 2), "published")


def test_rules_in_force_are_listed_and_a_draft_is_told(catalog, family_copy):
    before = catalog("rules", "list", "--format", "json")
    assert len({row["rule"] for row in before.rows}) == len(before.rows) and before.err == ""
    assert {row["status"] for row in before.rows} == {"published"}
    catalog("rules", "set", "alphabet.min_variance_reduction", "0.9")
    drafted = catalog("rules", "list", "--format", "json")
    assert drafted.rows == before.rows
    assert "alphabet.min_variance_reduction at 0.9, not 0.37" in drafted.err and "`catalog relabel`" in drafted.err
    every = catalog("rules", "list", "--all", "--format", "json").rows
    assert {row["status"] for row in every} == {"draft", "published"} and len(every) > len(before.rows)
    catalog("relabel")
    assert {row["rule"]: row["value"] for row in catalog("rules", "list", "--format", "json").rows}[
        "alphabet.min_variance_reduction"
    ] == 0.9


def test_a_run_is_deleted_only_after_a_yes(catalog, settings, family_copy):
    settings.setattr("sys.stdin", io.StringIO("n\n"))
    answer = catalog("runs", "delete", "1")
    assert answer.code == 1 and "Traceback" not in answer.err
    assert len(catalog("runs", "list", "--format", "json").rows) == 1
    assert catalog("runs", "delete", "1", "--yes").code == 0
    assert catalog("runs", "list", "--format", "json").rows == []
    assert catalog("find") == (0, "", "the catalog has no published run yet; `catalog ingest` or `make demo` makes one\n")
    assert catalog("runs", "delete", "1", "--yes").err.startswith("error: there is no run 1")


def test_a_new_database_gets_its_schema(catalog, settings, empty_database_url):
    """What the service `migrate` of docker-compose.yml runs, on a database without a schema."""
    from tests.unit.test_compose import SERVICES

    program, *words = SERVICES["migrate"]["command"]
    assert program == "catalog"
    settings.setenv("CATALOG_DATABASE_URL", empty_database_url)
    assert "`catalog db upgrade`" in catalog("find").err
    answer = catalog(*words)
    assert (answer.code, answer.out) == (0, "") and answer.err.startswith("the schema is at ")
    assert catalog("db", "check").code == 0
    assert catalog("models", "--format", "json").rows == []
    assert catalog("report").code == catalog("findings").code == 0


@pytest.mark.parametrize("neuron", [f"{N_LAYERS}.0", f"0.{D_MLP}"])
def test_a_neuron_that_does_not_exist_says_the_ranges(catalog, neuron):
    answer = catalog("show", MODELS[0], neuron)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        f"error: {MODELS[0]} has no neuron {neuron}; its layers are 0 to {N_LAYERS - 1}, its neurons 0 to {D_MLP - 1}.\n"
    )
