"""`catalog verify` finds whatever was changed since publication, and says what."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from sqlalchemy import URL, Connection, Engine, text

from catalog import parts
from catalog.publishing import checksums
from catalog.publishing.relabel import relabel
from catalog.server.engine import writer_engine
from catalog.verify.checks import checks
from cli.main import main
from tests.acceptance.ingests import BUT_SYNTAX, run_ingest, small_corpus, tiny_family
from tests.conftest import database
from tests.database.helpers import execute, one

CORRUPTIONS = 50


class Published(NamedTuple):
    """A database with one run, which every test leaves as it was."""

    url: str
    engine: Engine
    models: list[Path]
    corpus: Path


@pytest.fixture(scope="module")
def published(server: URL, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("verify")
    models, corpus = tiny_family(folder), small_corpus(folder, 300)
    with database(server, template) as url:
        assert run_ingest(url, models, corpus, only=BUT_SYNTAX).run_id == 1
        engine = writer_engine(url)
        yield Published(url, engine, models, corpus)
        engine.dispose()


@pytest.fixture
def verify(
    published: Published, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, Any, str]]:
    """`verify("1", "--sample", "0")`: exit code, findings and stderr of the command."""
    monkeypatch.setenv("CATALOG_DATABASE_URL", published.url)

    def run(*arguments: str) -> tuple[int, Any, str]:
        with pytest.raises(SystemExit) as exit:
            main(["verify", *arguments, "--format", "json"])
        captured = capsys.readouterr()
        return int(exit.value.code or 0), json.loads(captured.out or "[]"), captured.err

    return run


def differing(connection: Connection) -> dict[str, str]:
    """Findings by subject."""
    return {found.subject: found.finding for found in checks(connection, 1) if found.status == "differs"}


def random_row(connection: Connection, random: np.random.Generator, table: str, n: int = 1) -> list[dict[str, Any]]:
    """Different rows of a table with their places."""
    rows = connection.execute(text(f"SELECT ctid::text AS place, * FROM {table} ORDER BY ctid")).mappings().all()
    return [dict(rows[i]) for i in random.choice(len(rows), n, replace=False)]


def one_ulp(connection: Connection, random: np.random.Generator) -> str:
    """A correlation becomes its neighbour."""
    (row,) = random_row(connection, random, "pairs")
    near = np.nextafter(np.float32(row["correlation"]), np.float32(0))
    statement = "UPDATE pairs SET correlation = CAST(:x AS real) WHERE neuron_id = :neuron AND other_neuron_id = :other"
    values = {"x": str(near), "neuron": row["neuron_id"], "other": row["other_neuron_id"]}
    assert connection.execute(text(statement), values).rowcount == 1
    return "pairs"


def changed_number(connection: Connection, random: np.random.Generator) -> str:
    """Some number of some row is another."""
    numbers = {
        "activation_statistics": ("mean", "post_var", "sparsity"),
        "weight_statistics": ("w_in_norm", "vocab_kurt"),
        "universality": ("excess_corr",),
        "universality_by_model": ("baseline",),
        "explanations": ("variance_reduction", "cohen_d"),
        "top_tokens": ("mean",),
        "logit_effects": ("effect",),
    }
    table = str(random.choice(list(numbers)))
    column = str(random.choice(numbers[table]))
    (row,) = random_row(connection, random, table)
    value = f"CASE WHEN {column} = 0.5 THEN 0.25 ELSE 0.5 END"
    statement = f"UPDATE {table} SET {column} = {value} WHERE ctid = CAST(:place AS tid)"
    assert connection.execute(text(statement), row).rowcount == 1
    return table


def removed_row(connection: Connection, random: np.random.Generator) -> str:
    """A row is gone."""
    tables = ("activation_statistics", "explanations", "group_members", "letter_scores", "logit_effects", "pairs_run_1",
              "token_counts", "tokens", "top_tokens")  # fmt: skip
    table = str(random.choice(tables))
    (row,) = random_row(connection, random, table)
    assert connection.execute(text(f"DELETE FROM {table} WHERE ctid = CAST(:place AS tid)"), row).rowcount == 1
    return table.removesuffix("_run_1")


def swapped_neurons(connection: Connection, random: np.random.Generator) -> str:
    """Two rows change their neurons, or two neurons their places in the model."""
    table = str(random.choice(["activation_statistics", "universality", "letter_scores", "neurons"]))
    column = "index" if table == "neurons" else "neuron_id"
    one, other = random_row(connection, random, table, 2)
    key = "id" if table == "neurons" else "neuron_id"
    free = 2_000_000_000
    where = f'UPDATE {table} SET "{column}" = :new WHERE "{key}" = :key'
    if table == "neurons":
        # of one layer of one model, whatever was drawn
        other = dict(
            connection.execute(
                text("SELECT * FROM neurons WHERE (model_id, layer) = (:model_id, :layer) AND id <> :id LIMIT 1"), one
            ).mappings().one()
        )  # fmt: skip
        steps = [(free, one["id"]), (one["index"], other["id"]), (other["index"], one["id"])]
    else:
        steps = [(free, one[key]), (one[key], other[key]), (other[key], free)]
    for new, old in steps:
        assert connection.execute(text(where), {"new": new, "key": old}).rowcount == 1
    return table


def test_an_undamaged_run_passes(verify):
    code, findings, said = verify("1", "--sample", "5", "--seed", "3")
    assert (code, {finding["status"] for finding in findings}) == (0, {"ok"}), findings
    assert "--seed 3" in said and "no difference" in said
    subjects = [finding["subject"] for finding in findings]
    assert set(checksums.tables_of(parts.names())) < set(subjects)
    recomputed = [finding["subject"] for finding in findings if finding["check"] == "recomputation"]
    assert recomputed[0] == "activation statistics of 5 neurons" and recomputed[1].startswith("correlations of 5 neurons with")


def test_every_random_corruption_is_found(published):
    random = np.random.default_rng(20)
    kinds = (one_ulp, changed_number, removed_row, swapped_neurons)
    found = []
    with published.engine.connect() as connection:
        for i in range(CORRUPTIONS):
            with connection.begin() as transaction:
                # damage knows no foreign keys
                connection.execute(text("SET LOCAL session_replication_role = replica"))
                table = kinds[i % len(kinds)](connection, random)
                found.append((kinds[i % len(kinds)].__name__, table, differing(connection).get(table, "")))
                transaction.rollback()
        assert len(found) == CORRUPTIONS and all(finding for *_, finding in found), found
        assert differing(connection) == {}
    removed = [finding for kind, _, finding in found if kind == "removed_row"]
    assert all(" rows, but " in finding and finding.endswith(" were published") for finding in removed), removed


def test_what_checksums_cannot_know_is_found_by_structure(published):
    """Damage with checksums rewritten to suit: rules between rows find it."""
    damages = {
        "partners are ranked 1, 2, 3, … by falling correlation": "DELETE FROM pairs WHERE rank = 3 AND neuron_id = :neuron",
        "neurons of a model have equally many partners in another": """DELETE FROM pairs WHERE neuron_id = :neuron
            AND rank = (SELECT max(rank) FROM pairs WHERE neuron_id = :neuron)""",
        "mutual_best says whose best partner's best partner it is": """UPDATE pairs SET mutual_best = NOT mutual_best
            WHERE rank = 1 AND neuron_id = :neuron""",
        "partners belong to another model of the run, the one named": """UPDATE pairs SET other_model_id = 999
            WHERE rank = 2 AND neuron_id = :neuron""",
        "universality_by_model repeats the partners of rank 1": """UPDATE universality_by_model SET max_corr = max_corr / 2
            WHERE neuron_id = :neuron""",
        "universality sums universality_by_model up": "UPDATE universality SET mean_corr = 0.123 WHERE neuron_id = :neuron",
        "max_corr_se is the jackknife over the blocks left out": """UPDATE universality_by_model
            SET without_blocks = array_append(without_blocks, CAST(0.5 AS real)) WHERE neuron_id = :neuron""",
        "universal is what the rules say of the excess correlation and its error": """UPDATE universality
            SET universal = CASE universal WHEN 'yes' THEN 'undecided' ELSE 'yes' END WHERE neuron_id = :neuron""",
        "errors of universality come from those of universality_by_model": """UPDATE universality
            SET excess_se = excess_se + 0.1 WHERE neuron_id = :neuron""",
        "activation_statistics has one row per neuron of the run": """UPDATE activation_statistics SET neuron_id = 999999
            WHERE neuron_id = :neuron""",
        "groups have as many neurons as they say, each of another model": """UPDATE neuron_groups SET size = size + 1
            WHERE id = (SELECT min(id) FROM neuron_groups)""",
        "every model has n_layers x d_mlp neurons": "DELETE FROM neurons WHERE id = :neuron",
        "labels has rows of neurons of the run only": """UPDATE labels SET neuron_id = 999999
            WHERE ctid = (SELECT min(ctid) FROM labels)""",
        "every two models of the run are a pair": "DELETE FROM run_pairs WHERE (model_id, other_model_id) = (1, 2)",
        "examples are at their token in rows of the corpus that are stored": "DELETE FROM corpus_rows WHERE row = 3",
        "top examples are ranked 1, 2, 3, … by falling value": "UPDATE examples SET value = 9 WHERE rank = 2",
        "nothing is left of its computation": "INSERT INTO run_job_results VALUES (1, 0, 'a tile', '')",
        "letter_scores points to features": "UPDATE letter_scores SET feature_id = 999999 WHERE neuron_id = :neuron",
    }
    with published.engine.connect() as connection:
        neuron = connection.execute(text("SELECT min(neuron_id) FROM pairs")).scalar_one()
        connection.rollback()
        for rule, damage in damages.items():
            with connection.begin() as transaction:
                connection.execute(text("SET LOCAL session_replication_role = replica"))
                assert connection.execute(text(damage), {"neuron": neuron} if ":neuron" in damage else {}).rowcount >= 1, rule
                checksums.record(connection, 1, checksums.tables_of(parts.names()))
                found = differing(connection)
                assert "against the rule, such as" in found.get(rule, ""), (rule, found)
                transaction.rollback()


def test_numbers_that_texts_do_not_give_are_found(published, verify):
    """Damage with checksums rewritten to suit, and no rule broken: recomputation finds it."""
    last = one(published.engine, "SELECT max(rank) FROM pairs")
    execute(published.engine, "CREATE TABLE kept_pairs AS SELECT * FROM pairs WHERE rank = :last LIMIT 1", last=last)
    execute(published.engine, "CREATE TABLE kept_statistics AS SELECT * FROM activation_statistics LIMIT 1")
    key = "(p.neuron_id, p.other_neuron_id) = (k.neuron_id, k.other_neuron_id)"
    try:
        execute(published.engine, f"UPDATE pairs p SET correlation = p.correlation - 1e-3 FROM kept_pairs k WHERE {key}")
        execute(
            published.engine,
            """UPDATE activation_statistics a SET post_skew = a.post_skew * 1.0001, kurt = a.kurt * 1.001
               FROM kept_statistics k WHERE a.neuron_id = k.neuron_id""",
        )
        with published.engine.begin() as connection:
            checksums.record(connection, 1, ["pairs", "activation_statistics"])
            assert differing(connection) == {}
        code, findings, _ = verify("1", "--sample", "0")
    finally:
        execute(published.engine, f"UPDATE pairs p SET correlation = k.correlation FROM kept_pairs k WHERE {key}")
        execute(
            published.engine,
            """UPDATE activation_statistics a SET post_skew = k.post_skew, kurt = k.kurt
               FROM kept_statistics k WHERE a.neuron_id = k.neuron_id""",
        )
        with published.engine.begin() as connection:
            checksums.record(connection, 1, ["pairs", "activation_statistics"])
        execute(published.engine, "DROP TABLE kept_pairs, kept_statistics")
    said = {finding["subject"]: finding["finding"] for finding in findings if finding["status"] == "differs"}
    assert code == 1 and len(said) == 2
    statistics, correlations = said.values()
    assert statistics.startswith("kurt of tiny-") and "recomputed, and 1 more" in statistics
    assert correlations.startswith("the correlation of tiny-") and correlations.endswith("recomputed")


def test_what_cannot_be_read_any_more_is_one_sentence(published, verify):
    moved = published.models[1].rename(published.models[1].with_name("elsewhere"))
    try:
        code, findings, said = verify("1")
        assert code == 1 and {finding["status"] for finding in findings} == {"ok"}
        assert "error: run 1 cannot be recomputed, because there is no folder" in said and "--no-recompute" in said
        assert verify("1", "--no-recompute")[0] == 0
    finally:
        moved.rename(published.models[1])
    content = published.corpus.read_text()
    try:
        published.corpus.write_text("".join(content.splitlines(keepends=True)[2:]))
        code, _, said = verify("1")
        assert code == 1 and "the corpus gives other tokens than those that it read; --no-recompute" in said
    finally:
        published.corpus.write_text(content)


def test_only_published_runs_are_verified(published, verify):
    code, findings, said = verify("99")
    assert (code, findings) == (1, []) and "there is no run 99; `catalog runs list`" in said
    execute(
        published.engine,
        """INSERT INTO runs (identity, status, settings, definition_versions, code_version, device)
           VALUES ('another', 'failed', '{}', '{}', '', '')""",
    )
    failed = str(one(published.engine, "SELECT max(id) FROM runs"))
    try:
        assert "is failed; only a published run can be verified" in verify(failed)[2]
    finally:
        execute(published.engine, "DELETE FROM runs WHERE status = 'failed'")


def test_a_run_without_checksums_says_so_and_the_rest_is_checked(published):
    with published.engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text("DELETE FROM run_checksums"))
        found = list(checks(connection, 1))
        assert found[0].status == "unknown" and "published before checksums were recorded" in found[0].finding
        assert len(found) > 10 and {finding.status for finding in found[1:]} == {"ok"}
        transaction.rollback()


def test_added_parts_and_new_labels_bring_their_checksums(database_url, engine, published):
    inputs = published.models, published.corpus
    run_ingest(database_url, *inputs, only=("activations",))
    execute(engine, "UPDATE activation_statistics SET mean = 7 WHERE neuron_id = (SELECT min(id) FROM neurons)")
    assert run_ingest(database_url, *inputs).outcome == "parts_added"
    execute(engine, "UPDATE rules SET value = 0.01 WHERE parameter = 'min_variance_reduction'")
    n_labels = one(engine, "SELECT count(*) FROM labels")
    relabel(engine)
    assert one(engine, "SELECT count(*) FROM labels") > n_labels
    with engine.connect() as connection:
        # the damage came before the parts were added, which must not bless it; theirs contradict it
        assert list(differing(connection)) == ["activation_statistics", "activations on all subsets are those of the whole"]
        assert {finding.status for finding in checks(connection, 1)} == {"ok", "differs"}
