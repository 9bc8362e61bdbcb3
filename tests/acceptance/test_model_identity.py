"""A model under another configuration is another model, all the way to what readers and `catalog verify` see."""

import json
import shutil
from pathlib import Path

import pytest

from catalog.errors import InputError
from catalog.server.engine import writer_engine
from catalog.verify.checks import verify
from ingest.progress import Silent
from ingest.recompute.neurons import recompute
from tests import factories
from tests.acceptance.ingests import assert_same, contract, rows, run_ingest, small_corpus
from tests.database.helpers import execute

FIRST, MORE = ("weights", "activations"), ("weights", "activations", "distributions")


def configured(folder: Path, copy: Path, **changes: object) -> Path:
    """The same weights under another configuration."""
    shutil.copytree(folder, copy)
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return copy


def differences(url: str, run_id: int) -> dict[str, str]:
    """What `catalog verify` finds by checksums and structure."""
    engine = writer_engine(url)
    try:
        return {found.subject: found.finding for found in verify(engine, run_id) if found.status == "differs"}
    finally:
        engine.dispose()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small_corpus(tmp_path, 60)


def test_no_run_holds_two_activation_functions(database_url: str, tmp_path: Path, corpus: Path) -> None:
    relu = factories.tiny_gpt2(tmp_path / "one" / "tiny", activation="relu")
    silu = configured(relu, tmp_path / "two" / "tiny", activation_function="silu")
    first = run_ingest(database_url, [relu], corpus, only=FIRST)
    before = contract(database_url)
    with pytest.raises(InputError, match=r"with another config \(activation_function relu, not silu\); .* NEWNAME="):
        run_ingest(database_url, [silu], corpus, only=MORE)
    assert_same(before, contract(database_url))
    named = run_ingest(database_url, [f"silu={silu}"], corpus, only=MORE)
    assert (named.outcome, named.run_id != first.run_id) == ("published", True)
    found = rows(database_url, "SELECT name, activation_function, behaviour ->> 'activation_function' FROM models ORDER BY id")
    assert found == [("tiny", "relu", "relu"), ("silu", "silu", "silu")]
    means = dict(rows(database_url, "SELECT model, avg(post_mean) FROM neuron_profiles GROUP BY model"))
    assert abs(means["tiny"] - means["silu"]) > 0.05
    more = run_ingest(database_url, [relu], corpus, only=MORE)
    assert (more.outcome, more.run_id) == ("parts_added", first.run_id)
    kinds = rows(database_url, "SELECT run_id, count(DISTINCT models_sha256), count(*) FROM run_parts GROUP BY 1 ORDER BY 1")
    assert kinds == [(first.run_id, 1, 3), (named.run_id, 1, 3)]
    assert differences(database_url, first.run_id) == differences(database_url, named.run_id) == {}


def test_a_run_that_holds_both_is_told(database_url: str, tmp_path: Path, corpus: Path) -> None:
    """As a catalog that took them for one model has it: the part's rows are another function's, checksums and all."""
    relu = factories.tiny_gpt2(tmp_path / "relu", activation="relu")
    silu = configured(relu, tmp_path / "silu", activation_function="silu")
    one = run_ingest(database_url, [relu], corpus, only=MORE).run_id
    other = run_ingest(database_url, [silu], corpus, only=MORE).run_id
    engine = writer_engine(database_url)
    columns = "n_tokens, mean, var, skew, kurt, sparsity, post_mean, post_var, post_skew, post_kurt, variance_reduction"
    execute(engine, f"""
        UPDATE subset_statistics s SET ({columns}) = (
          SELECT {", ".join(f"o.{name.strip()}" for name in columns.split(","))}
            FROM subset_statistics o JOIN neurons theirs ON theirs.id = o.neuron_id
            JOIN neurons own ON (own.layer, own.index) = (theirs.layer, theirs.index) AND own.id = s.neuron_id
           WHERE o.run_id = {other} AND o.subset = s.subset)
         WHERE run_id = {one}""")  # fmt: skip
    found = differences(database_url, one)
    assert "against the rule, such as neuron" in found["activations on all subsets are those of the whole"]
    execute(engine, f"""
        UPDATE run_parts p SET models_sha256 = o.models_sha256 FROM run_parts o
         WHERE p.run_id = {one} AND p.part = 'distributions' AND o.run_id = {other} AND o.part = p.part""")  # fmt: skip
    assert differences(database_url, one)["every part was computed of the models of the run"] == (
        "1 against the rule, such as distributions, of other models"
    )
    execute(engine, "UPDATE run_parts SET models_sha256 = NULL")
    assert differences(database_url, other)["every part was computed of the models of the run"].startswith("3 against the rule")
    execute(engine, "UPDATE models SET activation_function = 'relu'")
    assert differences(database_url, other)["models are what their behaviour says"] == "1 against the rule, such as silu"
    engine.dispose()


def test_verify_compares_behaviour_before_it_recomputes(database_url: str, tmp_path: Path, corpus: Path) -> None:
    folder = factories.tiny_gpt2(tmp_path / "tiny", activation="relu")
    run_id = run_ingest(database_url, [folder], corpus, only=FIRST).run_id
    engine = writer_engine(database_url)
    assert {finding.status for finding in recompute(engine, run_id, 4, 0, "cpu", Silent())} == {"ok"}
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"activation_function": "silu"}))
    with pytest.raises(InputError, match=r"tiny is not the model that it read \(activation_function silu, not relu\)"):
        recompute(engine, run_id, 4, 0, "cpu", Silent())
    engine.dispose()


def test_the_same_weights_with_other_heads_are_not_one_model_given_twice(
    database_url: str, tmp_path: Path, corpus: Path
) -> None:
    two = factories.tiny_gpt2(tmp_path / "two", n_heads=2)
    four = configured(two, tmp_path / "four", n_head=4)
    run = run_ingest(database_url, [two, four], corpus, only=("activations", "correlations"))
    assert run.outcome == "published"
    assert rows(database_url, "SELECT count(DISTINCT weights_sha256), count(DISTINCT identity) FROM models") == [(1, 2)]
    ((below,),) = rows(database_url, "SELECT min(correlation) FROM pairs WHERE rank = 1")
    assert below < 0.9999
    with pytest.raises(InputError, match="are the same model; give each model once"):
        run_ingest(database_url, [two, configured(two, tmp_path / "again")], corpus, only=("activations", "correlations"))
