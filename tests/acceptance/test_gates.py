"""Gated neurons from a checkpoint to readers: quadrants and lowest examples; models without gates have neither."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import URL

from catalog.server.engine import writer_engine
from catalog.verify.checks import verify
from cli.main import main
from tests.acceptance.ingests import rows, run_ingest, small_corpus
from tests.conftest import database
from tests.decoders import tiny_decoder
from tests.factories import byte_bpe_tokenizer, load_raw, tiny_gpt2

PARTS = ("activations", "gates", "distributions", "examples")
PLANTED = 5
"""Of the first layer: its gate is always open, and its input always below 0."""


@torch.no_grad()
def plant(folder: Path) -> None:
    """Gate and input read alike, but for biases that decide."""
    model: Any = load_raw(folder)
    mlp = model.model.layers[0].mlp
    mlp.up_proj.weight[PLANTED] = mlp.gate_proj.weight[PLANTED]
    mlp.gate_proj.bias[PLANTED], mlp.up_proj.bias[PLANTED] = 50, -50
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def published(server: URL, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gates")
    gated = tiny_decoder("llama", folder / "gated", 0, byte_bpe_tokenizer())
    plant(gated)
    plain = tiny_gpt2(folder / "plain", 1, byte_bpe_tokenizer())
    with database(server, template) as url:
        run_ingest(url, [gated, plain], small_corpus(folder), only=PARTS)
        yield url


def test_models_with_gates_have_quadrants_and_others_none(published: str) -> None:
    assert rows(published, "SELECT name, gated FROM models ORDER BY 1") == [("gated", True), ("plain", False)]
    assert rows(published, "SELECT model, count(*), count(share_open_positive_se) FROM neuron_gates GROUP BY 1") == [
        ("gated", 48, 48)
    ]
    engine = writer_engine(published)
    found = {(each.subject, each.status) for each in verify(engine, 1)}
    engine.dispose()
    assert ("quadrants of gated neurons sum up to the whole", "ok") in found
    assert {status for _, status in found} == {"ok"}


def test_a_planted_neuron_is_where_it_was_put(published: str) -> None:
    ((frequency, error, mean, share, nowhere, in_all),) = rows(
        published,
        """SELECT g.frequency_open_negative, g.frequency_open_negative_se, g.post_mean_open_negative, g.share_open_negative,
                  g.post_mean_open_positive, p.post_mean
             FROM neuron_gates g JOIN neuron_profiles p USING (neuron_id)
            WHERE g.model = 'gated' AND g.layer = 0 AND g.neuron = :neuron""",
        neuron=PLANTED,
    )
    assert (frequency, error, share, nowhere) == (1, None, 1, None)
    assert mean == pytest.approx(in_all, rel=1e-5) and mean == pytest.approx(-2500, rel=0.1)


def test_the_lowest_examples_are_of_gated_neurons(published: str) -> None:
    kinds = "SELECT model, kind, count(DISTINCT neuron_id), max(value) FROM neuron_examples GROUP BY 1, 2"
    found = {(model, kind): (n, most) for model, kind, n, most in rows(published, kinds)}
    assert found["gated", "lowest"][0] == found["gated", "top"][0] == 48 and ("plain", "lowest") not in found
    lowest = rows(
        published,
        """SELECT value FROM neuron_examples WHERE model = 'gated' AND layer = 1 AND neuron = 3 AND kind = 'lowest'
            ORDER BY rank""",
    )
    values = [value for (value,) in lowest]
    assert len(values) == 50 and values == sorted(values) and values[0] < 0


def test_show_says_it_in_one_line(published: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CATALOG_DATABASE_URL", published)

    def shown(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["show", *words])
        assert end.value.code == 0
        return capsys.readouterr().out

    told = " ".join(shown("gated", f"0.{PLANTED}").split())
    assert "Gate and input: where it is active, and where its output comes from" in told
    assert "of |post| where the gate is open and its input <= 0, on 100 % of tokens, mean -2" in told
    assert "the gate is shut" not in told and "Gate and input" not in shown("plain", "0.5")
    page = json.loads(shown("gated", f"0.{PLANTED}", "--format", "json"))
    assert [(row["gate"], row["input"], row["frequency"]) for row in page["gates"]] == [
        ("open", "> 0", 0), ("open", "<= 0", 1), ("shut", "> 0", 0), ("shut", "<= 0", 0),
    ]  # fmt: skip
    assert json.loads(shown("plain", "0.5", "--format", "json"))["gates"] == []


def test_a_run_of_models_without_gates_says_nothing_of_them(database_url: str, tmp_path: Path) -> None:
    plain = tiny_gpt2(tmp_path / "plain", 1, byte_bpe_tokenizer())
    report = run_ingest(database_url, [plain], small_corpus(tmp_path), only=("gates",))
    assert report.outcome == "published"
    assert rows(database_url, "SELECT count(*) FROM gate_statistics") == [(0,)]
