"""What is odd but allowed, through a whole ingest: bytes that are no text, uneven documents, a dead layer, one model."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from catalog import parts
from catalog.errors import InputError
from ingest.pipeline.main_path import ingest
from ingest.progress import Silent
from ingest.settings import IngestSettings
from tests import factories
from tests.acceptance.ingests import BUT_SYNTAX, OF_ONE, contract, rows, run_ingest, small_corpus, tiny_family
from tests.commands import run_catalog

catalog = run_catalog
ODD = [
    "nul\0 and \0\0 again, ",
    "👩‍👩‍👧 e\u0301 naïve\r\n",
    "漢字とかな交じり文 ",
    "\ufffd \u200b\u202e ",
    "lone \ud83d half ",
    "\t\t x = y[0]  # ok\n",
]
VIEWS = (
    "neuron_profiles", "neuron_labels", "neuron_explanations", "neuron_examples", "token_detectors", "neuron_subsets",
    "position_neurons", "position_teams", "ngram_coverage", "ngram_coverage_by_half", "covered_tokens_by_layer", "dead_neurons",
    "bos_neurons", "family_counts", "family_counts_by_layer", "layer_profiles", "depth_matrix",
)  # fmt: skip


@pytest.fixture
def settings(database_url, monkeypatch):
    monkeypatch.setenv("CATALOG_DATABASE_URL", database_url)
    return monkeypatch


def odd_corpus(folder: Path, **columns: str) -> Path:
    """Documents of 51 to thousands of characters; the last is the shortest."""
    generator = np.random.default_rng(0)
    words = factories.random_texts(60)
    texts = [
        "".join(generator.permutation([*ODD * int(generator.integers(1, 6)), text])) for text in words
    ]  # fmt: skip
    documents = [*texts, "a line that does not end " * 300, "x" * 51]
    return factories.write_jsonl(folder / "odd.jsonl", [{"text": text, **columns} for text in documents])


def test_bytes_that_are_no_text_reach_every_answer(catalog, database_url: str, tmp_path: Path) -> None:
    """NUL, lone surrogates and pieces of characters, with syntax and examples."""
    models = tiny_family(tmp_path, "ab")
    run_ingest(database_url, models, odd_corpus(tmp_path, subset="nul\0 subset"), only=parts.names(), min_count=5)
    for view in VIEWS:
        rows(database_url, f"SELECT * FROM {view}")
    assert rows(database_url, "SELECT text FROM tokens WHERE bytes = '\\x00'") == [("\\x00",)]
    for wanted in (r"\\x00", r"\\x[89a-f]"):
        ((layer, neuron),) = rows(
            database_url,
            """SELECT layer, neuron FROM neuron_examples WHERE model = 'tiny-a' AND kind = 'top' AND token ~ :wanted
               ORDER BY rank, layer, neuron LIMIT 1""",
            wanted=wanted,
        )
        for format in ("table", "json"):
            shown = catalog("show", "tiny-a", f"{layer}.{neuron}", "--examples", "50", "--format", format)
            assert shown.code == 0 and "\0" not in shown.out
            assert re.search(wanted, shown.out), shown.out
    assert catalog("find", "--format", "json").code == 0
    assert catalog("sql", "SELECT * FROM neuron_examples").code == 0
    (subset,) = {subset for (subset,) in rows(database_url, "SELECT DISTINCT subset FROM neuron_subsets")}
    assert subset == "nul\N{REPLACEMENT CHARACTER} subset"


def test_uneven_documents_make_rows_of_one_length(database_url: str, tmp_path: Path) -> None:
    """What does not fill a row is left out, and nothing else."""
    run_ingest(database_url, tiny_family(tmp_path, "ab"), odd_corpus(tmp_path), min_count=5)
    ((context, n_rows, n_tokens),) = rows(database_url, "SELECT context_length, n_rows, n_tokens FROM corpora")
    assert context == 32 and n_tokens == context * n_rows
    assert rows(database_url, "SELECT DISTINCT cardinality(tokens) FROM corpus_rows") == [(context,)]
    assert rows(database_url, "SELECT max(position) < 32, min(position) >= 1 FROM neuron_examples") == [(True, True)]
    counted = rows(database_url, "SELECT sum(count) FROM token_counts")
    assert counted == rows(database_url, "SELECT n_kept FROM corpora")
    ((least, most),) = rows(database_url, "SELECT min(n_tokens), max(n_tokens) FROM neuron_profiles")
    assert (least,) == (most,) == counted[0]


def said(url: str, models: list[Path], corpus: Path, *parts: str) -> list[str]:
    progress = Silent()
    ingest(IngestSettings(tuple(map(str, models)), str(corpus), database_url=url, only=parts, controls=0), progress)
    return [sentence for sentence in progress.said if "subset" in sentence]


def test_a_corpus_without_subsets_is_said_once_where_subsets_matter(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path, "ab"), odd_corpus(tmp_path)
    assert said(database_url, models, corpus, "activations") == []
    (sentence,) = said(database_url, models, corpus, "activations", "distributions")
    assert "no subsets" in sentence and "--subset-column" in sentence and sentence.count("\n") == 0
    assert said(database_url, models, corpus, "activations", "distributions") == [], "nothing is computed"
    families = {family for (family,) in rows(database_url, "SELECT DISTINCT family FROM family_counts_by_layer")}
    assert "bos" in families and "context" not in families
    named = small_corpus(tmp_path)
    assert said(database_url, models, named, "distributions") == []


@torch.no_grad()
def kill_layer(folder: Path, layer: int) -> Path:
    """No neuron of the layer is ever active, whatever it reads."""
    model = factories.load_raw(folder)
    w_in, b_in, _ = factories.mlp_parameters(model)[layer]
    w_in.zero_()
    b_in.fill_(-1)
    factories.save_checkpoint(model, None, folder)
    return folder


def test_a_layer_without_a_live_neuron(catalog, database_url: str, tmp_path: Path) -> None:
    models = tiny_family(tmp_path, "ab")
    kill_layer(models[0], 1)
    run_ingest(database_url, models, small_corpus(tmp_path), only=parts.names())
    dead = rows(
        database_url,
        # in 16 dimensions random output weights are opposite to some others
        """SELECT neuron, family, subtype, score FROM neuron_labels
           WHERE model = 'tiny-a' AND layer = 1 AND family <> 'antipodal' ORDER BY neuron, family""",
    )
    assert dead == [(neuron, "dead", "provisional", 0.0) for neuron in range(24)]
    assert rows(
        database_url,
        """SELECT DISTINCT sparsity, degenerate, skew, kurt, post_skew, post_kurt, excess_corr, max_corr, universal,
                  in_out_sim, w_in_norm FROM neuron_profiles WHERE model = 'tiny-a' AND layer = 1""",
    ) == [(0.0, True, None, None, None, None, None, None, "no", None, 0.0)]
    undefined = rows(
        database_url,
        """SELECT DISTINCT c.cover_1, c.cover_2, c.cover_3, c.bucket_1, c.activations FROM ngram_coverage c
           WHERE model = 'tiny-a' AND layer = 1""",
    )
    assert undefined == [(None, None, None, None, 0)]
    covered = (
        "SELECT layer, covered, new_overall, new_vs_previous FROM covered_tokens_by_layer WHERE model = 'tiny-a' ORDER BY layer"
    )
    assert [row[0] for row in rows(database_url, covered)] == [0, 1]
    assert rows(database_url, covered)[1][1:] == (0, 0, 0)
    profile = rows(
        database_url, "SELECT layer, n_neurons, n_universal, n_degenerate FROM layer_profiles WHERE model = 'tiny-a'"
    )
    assert sorted(profile)[1] == (1, 24, 0, 24)
    for view, frame in contract(database_url).items():
        numbers = frame.select_dtypes("number")
        assert not np.isinf(numbers.to_numpy(dtype=float)).any(), view
    nothing = rows(database_url, "SELECT count(*) FROM neuron_explanations WHERE model = 'tiny-a' AND layer = 1")
    assert nothing == [(0,)]
    page = catalog("show", "tiny-a", "1.3")
    assert page.code == 0 and "provisional" in page.out
    counts = catalog("families", "--model", "tiny-a", "--format", "json").rows
    assert {row["neurons"] for row in counts if (row["layer"], row["family"]) == (1, "dead")} == {24}
    assert catalog("verify", "1").code == 0


@pytest.mark.parametrize("parts", [("positions",), ("distributions", "examples"), OF_ONE], ids=",".join)
def test_one_model_has_every_part_but_correlations(catalog, database_url: str, tmp_path: Path, parts: tuple[str, ...]) -> None:
    (model,) = tiny_family(tmp_path, "a")
    report = run_ingest(database_url, [model], small_corpus(tmp_path), only=parts)
    assert report.outcome == "published"
    found = {part for (part,) in rows(database_url, "SELECT part FROM run_parts")}
    assert found == set(parts)
    for view in VIEWS:
        rows(database_url, f"SELECT * FROM {view}")
    assert run_ingest(database_url, [model], small_corpus(tmp_path), only=parts).outcome == "already_published"
    assert catalog("show", "tiny-a", "0.0").code == 0
    assert catalog("verify", "1").code == 0
    assert {row["family"] for row in catalog("families", "--format", "json").rows}.isdisjoint({"unexplained"})


def test_what_one_model_can_have_is_named(database_url: str, tmp_path: Path) -> None:
    (model,) = tiny_family(tmp_path, "a")
    corpus = small_corpus(tmp_path)
    with pytest.raises(InputError, match="at least two models are needed for correlations") as caught:
        run_ingest(database_url, [model], corpus, only=BUT_SYNTAX)
    parts = str(caught.value).split("--only ")[1].removesuffix(" for one.")
    assert parts == ",".join(OF_ONE)
    assert run_ingest(database_url, [model], corpus, only=tuple(parts.split(","))).outcome == "published"
    with pytest.raises(InputError, match="or --only weights for one"):
        run_ingest(database_url, [model], corpus, only=("correlations",))
    with pytest.raises(InputError, match="for correlations and substitution; give more of them, or --only positions for"):
        run_ingest(database_url, [model], corpus, only=("correlations", "positions", "substitution"))
    with pytest.raises(InputError, match=r"needed for substitution; .* --only weights for one"):
        run_ingest(database_url, [model], corpus, only=("substitution",))


def test_a_run_that_would_hide_parts_of_another_says_so(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path, "ab"), small_corpus(tmp_path)

    def told(models: list[Path], *parts: str, **settings: object) -> list[str]:
        progress = Silent()
        named = tuple(map(str, models))
        ingest(IngestSettings(named, str(corpus), only=parts, controls=0, database_url=database_url, **settings), progress)
        return [sentence for sentence in progress.said if "new run" in sentence]

    assert told(models, "activations", "vocabulary", "topics") == []
    assert told(models, "positions") == [], "it is added to the run that is there"
    file = tmp_path / "topics.csv"
    file.write_text("token_id,topic\n5,five\n")
    assert told(models, "activations", "topics", topics=str(file)) == [], "a part that is measured again makes no new run"
    (said,) = told(models, "activations", "topics", seed=1)
    assert "in place of run 1, without positions, vocabulary" in said
    (said,) = told(models[:1], "positions")
    assert "in place of run 2, without activations, topics" in said
