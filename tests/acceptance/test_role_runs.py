"""Runs with roles: without a corpus, again, by other settings, and over what was asked for."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from catalog import parts
from catalog.errors import InputError, NotFoundError
from catalog.server.engine import writer_engine
from catalog.verify.checks import verify
from ingest.asked.intervene import intervene
from ingest.pipeline.main_path import ingest
from ingest.progress import Silent
from ingest.settings import IngestSettings
from tests import factories
from tests.acceptance.ingests import rows, run_ingest
from tests.acceptance.role_models import CONTEXT, D_MLP, TOKENS, ask, make_corpus, make_models

models = make_models
corpus = make_corpus


def test_roles_of_weights_need_no_corpus_and_are_known_the_second_time(
    database_url: str, models: dict[str, Path], corpus: Path
) -> None:
    first = run_ingest(database_url, [models["serial"]], None, only=parts.of_weights())
    assert first.outcome == "published"
    assert rows(database_url, "SELECT count(*) FROM neuron_head_scores")[0][0] > 0
    second = run_ingest(database_url, [models["serial"]], None, only=("prediction", "redundancy"))
    assert (second.outcome, second.message) == (
        "already_published", "run 1 has prediction, redundancy of these models already",
    )  # fmt: skip
    with pytest.raises(NotFoundError, match="run 1, the newest with serial, read no corpus to measure on"):
        intervene(ask(database_url, "serial", ((0, 1),), changes=(("fix", 1.0),)), Silent())
    wide = run_ingest(database_url, [models["serial"]], None, only=parts.of_weights(), context=CONTEXT)
    assert wide.run_id == first.run_id and wide.message.startswith("run 1 has attention anew"), "h of another context is new"
    assert rows(database_url, "SELECT settings FROM run_parts WHERE part = 'attention'") == [({"context": CONTEXT, "seed": 0},)]


def test_what_was_asked_for_gives_way_to_the_run_itself(database_url: str, models: dict[str, Path], corpus: Path) -> None:
    """Whoever held a neuron before the run had the part finds it among the candidates afterwards, if it is one."""
    some = {"only": ("weights", "activations"), "context": CONTEXT, "intervention_tokens": TOKENS}
    run_ingest(database_url, [models["shallow"]], corpus, **some)
    every = tuple(((0, index),) for index in range(D_MLP))
    before = intervene(ask(database_url, "shallow", *every, changes=(("fix", 6.0), ("fix", 0.5))), Silent()).frame()
    assert len(before) == 2 * D_MLP
    added = run_ingest(database_url, [models["shallow"]], corpus, **{**some, "only": parts.groups()["roles"]})
    assert added.outcome == "parts_added"
    statement = "SELECT purpose, value, count(*) FROM interventions WHERE value IN (6, 0.5) GROUP BY 1, 2 ORDER BY 1, 2"
    found = {(purpose, value): n for purpose, value, n in rows(database_url, statement)}
    assert found == {("asked", 0.5): D_MLP, ("candidate", 6.0): 1, ("asked", 6.0): D_MLP - 1}
    engine = writer_engine(database_url)
    assert [finding for finding in verify(engine, 1) if finding.status != "ok"] == []
    engine.dispose()


def test_a_corpus_or_weights_that_have_changed_are_refused(database_url: str, tmp_path: Path, corpus: Path) -> None:
    tokenizer = factories.byte_bpe_tokenizer()
    model = factories.tiny_gpt2(tmp_path / "moving", 0, tokenizer)
    text = tmp_path / "text.jsonl"
    text.write_bytes(corpus.read_bytes())
    run_ingest(database_url, [model], text, only=("weights", "activations"))
    text.write_text(text.read_text().replace("the", "xyz"))
    with pytest.raises(InputError, match="the corpus gives other tokens than those that run 1 read"):
        intervene(ask(database_url, "moving", ((0, 1),), changes=(("relu", 0.0),)), Silent())
    text.write_bytes(corpus.read_bytes())
    factories.tiny_gpt2(tmp_path / "moving", 1, tokenizer)
    with pytest.raises(InputError, match=r"moving is not the model that run 1 read \(other weights"):
        intervene(ask(database_url, "moving", ((0, 1),), changes=(("relu", 0.0),)), Silent())
    text.unlink()
    with pytest.raises(InputError, match="run 1 cannot be read again, because"):
        intervene(ask(database_url, "moving", ((0, 1),), changes=(("relu", 0.0),)), Silent())


def test_settings_of_roles_are_refused_or_measured_again(database_url: str, models: dict[str, Path], corpus: Path) -> None:
    for setting in ("intervention_tokens", "ablation_pairs"):
        with pytest.raises(InputError, match="0 is too small; give 1 or more"):
            run_ingest(database_url, [models["serial"]], corpus, **{setting: 0})
    with pytest.raises(InputError, match="or --only weights,prediction,redundancy,attention to do without one"):
        ingest(IngestSettings((str(models["serial"]),), only=("roles",), database_url=database_url), Silent())
    first = run_ingest(database_url, [models["serial"]], corpus, only=("entropy",), intervention_tokens=200)
    other = run_ingest(database_url, [models["serial"]], corpus, only=("entropy",), intervention_tokens=400)
    assert first.run_id == other.run_id and other.message.startswith("run 1 has entropy anew")
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT DISTINCT run_id, n_rows FROM interventions ORDER BY 1").all()
    engine.dispose()
    assert found == [(first.run_id, -(-400 // 32))], "rows of the smaller number have made room"
