"""`catalog ablate`, from the command to SQL: what is asked for stands beside what the run chose, and never in its place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from catalog.errors import InputError, NotFoundError, RunError
from catalog.publishing import asked_rows
from catalog.questions import asked
from catalog.questions.published_model import model_of_run
from catalog.server.engine import writer_engine
from catalog.verify.checks import verify
from ingest.asked.ablate import ablate
from ingest.asked.intervene import intervene
from ingest.asked.settings import AblateSettings, InterveneSettings
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.parts.ablations import CAUSES, ablation_columns
from ingest.progress import Silent
from ingest.roles.heads import Pair
from ingest.roles.path_ablation import ablate_paths
from ingest.roles.path_summary import summarise
from tests import factories
from tests.acceptance.ingests import rows, run_ingest
from tests.acceptance.role_models import (
    CONTEXT,
    D_MLP,
    TOKENS,
    Heard,
    make_corpus,
    make_models,
    opened,
    publish_models,
    read_corpus,
)
from tests.commands import Answer, run_catalog, use_published_family
from tests.raw_attention import RawModel

settings = use_published_family
catalog = run_catalog
models = make_models
corpus = make_corpus
url = publish_models

NUMBERS = ("p_bos", "delta_p_bos", "z_norm", "delta_z_norm", "o_norm", "delta_o_norm", "fractional_o_norm")
SHOWN = (("act", "delta_p_bos"), ("act", "fractional_o_norm"), ("delta_p_bos", "fractional_o_norm"))
EVERY_ROW = "SELECT * FROM path_ablations ORDER BY run_id, neuron_id, head_layer, head, n_rows"
EVERY_RELATION = "SELECT * FROM ablation_relations ORDER BY run_id, neuron_id, head_layer, head, n_rows, x, y"
POINTS = ("act", "p_bos", "z_norm", "o_norm", "delta_p_bos", "delta_z_norm", "delta_o_norm")
FEW = 240
"""Tokens, of which the run itself has no ablation."""


def ask(url: str, model: str, neuron: tuple[int, int], *heads: tuple[int, int], **more: object) -> pd.DataFrame:
    given = {"model": model, "neuron": neuron, "heads": heads, "tokens": FEW, "device": "cpu", "database_url": url, **more}
    return ablate(AblateSettings(**given), Silent()).frame()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["serial", "parallel", "relu"])
def test_what_is_stored_and_shown_is_what_the_engine_finds(url: str, models: dict[str, Path], corpus: Path, name: str) -> None:
    heads = [(2, 1), (1, 0), (2, 1)]
    shown = ask(url, name, (0, 5), *heads)
    checkpoint = opened(models[name])
    special = tokenizer_identity(checkpoint.tokenizer).special_ids
    pairs = [Pair(0, 5, 1, 0), Pair(0, 5, 2, 1)]
    expected = ablate_paths(checkpoint, read_corpus(models[name], corpus), pairs, special, FEW, 4096, torch.device("cpu"))
    assert list(shown["head"]) == ["A1.H0", "A2.H1"] and set(shown["neuron"]) == {"0.5"} and set(shown["purpose"]) == {"asked"}
    for own, row in zip(expected, shown.to_dict("records"), strict=True):
        assert (row["n_tokens"], row["activation"]) == (own.n, own.act) and own.n > 50
        assert [row[number] for number in NUMBERS] == [getattr(own, number) for number in NUMBERS]
        for x, y in SHOWN:
            relation, of = own.relations[x, y], f"{CAUSES.get(x, x)}_{y}"
            assert (row[f"pearson_{of}"], row[f"spearman_{of}"]) == (relation.pearson, relation.spearman)
            assert abs(relation.pearson) > 0
    stored = rows(
        url,
        """SELECT head_layer, head, x, y, pearson, spearman, slope, intercept, activation_sd, fractional_z_norm
           FROM neuron_path_ablations WHERE model = :name AND layer = 0 AND neuron = 5 AND n_rows = :n""",
        name=name, n=FEW // CONTEXT,
    )  # fmt: skip
    assert {row[:4]: row[4:] for row in stored} == {
        (own.pair.head_layer, own.pair.head, CAUSES.get(x, x), y): (*vars(relation).values(), own.act_sd, own.fractional_z_norm)
        for own in expected
        for (x, y), relation in own.relations.items()
    }
    assert len(stored) == 18
    origin = "SELECT DISTINCT code_version <> '', device <> '', now() - measured_at < '1 h' FROM path_ablations WHERE {}"
    assert rows(url, origin.format("purpose = 'asked'")) == [(True, True, True)]
    assert rows(url, origin.format("purpose = 'chosen'")) == [(None, None, None)]


@pytest.mark.parametrize("name", ["serial", "parallel"])
def test_a_pair_is_the_plain_computation_in_raw_weights(url: str, models: dict[str, Path], corpus: Path, name: str) -> None:
    pair = Pair(1, 9, 2, 0)
    (shown,) = ask(url, name, (1, 9), (2, 0)).to_dict("records")
    raw, read = RawModel(models[name]), read_corpus(models[name], corpus)
    tokens = np.asarray(read.tokens[: FEW // CONTEXT], dtype=np.int64)
    special = tokenizer_identity(opened(models[name]).tokenizer).special_ids
    residuals, posts = raw.residuals_and_posts(torch.from_numpy(tokens))
    places = [(row, p) for row in range(len(tokens)) for p in range(CONTEXT // 2, CONTEXT) if tokens[row, p] not in special]
    act = np.array([posts[1][row, p, 9].item() for row, p in places])
    clean, without = (
        np.array([raw.ablated(pair, residuals[2][row], p, amount) for (row, p), amount in zip(places, removed, strict=True)])
        for removed in (0 * act, act)
    )
    change, fraction = without - clean, (without[:, 2] - clean[:, 2]) / clean[:, 2]
    means = (act, clean[:, 0], change[:, 0], clean[:, 1], change[:, 1], clean[:, 2], change[:, 2], fraction)
    assert shown["n_tokens"] == len(places)
    assert [shown[number] for number in ("activation", *NUMBERS)] == pytest.approx([x.mean() for x in means], abs=1e-5)
    for x, y, of in (
        (act, change[:, 0], "activation_delta_p_bos"),
        (act, fraction, "activation_fractional_o_norm"),
        (change[:, 0], fraction, "delta_p_bos_fractional_o_norm"),
    ):
        assert shown[f"pearson_{of}"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-3)
        assert shown[f"spearman_{of}"] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-3)


def chosen_pair(url: str, model: str) -> tuple[int, int, int, int]:
    """A pair that the run has ablated on TOKENS itself."""
    statement = """SELECT layer, neuron, head_layer, head FROM neuron_path_ablations
                   WHERE model = :model AND purpose = 'chosen' ORDER BY 1, 2, 3, 4 LIMIT 1"""
    ((layer, neuron, head_layer, head),) = rows(url, statement, model=model)
    return layer, neuron, head_layer, head


def assert_as_published(url: str) -> None:
    engine = writer_engine(url)
    differing = [finding for finding in verify(engine, 1) if finding.status != "ok"]
    engine.dispose()
    assert differing == []


def test_what_the_run_has_measured_stays_and_is_shown(url: str) -> None:
    layer, neuron, head_layer, head = chosen_pair(url, "serial")
    own = "SELECT * FROM neuron_path_ablations WHERE purpose = 'chosen' ORDER BY model, layer, neuron, head_layer, head, x, y"
    before = rows(url, own)
    (shown,) = ask(url, "serial", (layer, neuron), (head_layer, head), tokens=TOKENS).to_dict("records")
    assert shown["purpose"] == "chosen" and rows(url, own) == before
    # on fewer tokens it is another measurement, which is kept beside it
    (fewer,) = ask(url, "serial", (layer, neuron), (head_layer, head)).to_dict("records")
    assert fewer["purpose"] == "asked" and fewer["n_tokens"] < shown["n_tokens"] and rows(url, own) == before
    assert_as_published(url)


def test_what_was_asked_for_is_replaced_and_undefined_numbers_are_null(url: str) -> None:
    first = ask(url, "relu", (0, 1), (1, 1), (2, 0))
    before = rows(url, EVERY_ROW), rows(url, EVERY_RELATION)
    layer, neuron, head_layer, head = chosen_pair(url, "relu")
    engine = writer_engine(url)
    of_run = model_of_run(engine, "relu", None)

    def store(pair: Pair, n: int, n_rows: int, run: int = of_run.run_id) -> None:
        """Other numbers, as another device might have found."""
        measured = [summarise(pair, **{name: np.random.default_rng(3).random(n) for name in POINTS})]
        columns = ablation_columns(measured, of_run.neuron_ids, of_run.d_mlp, n_rows, "asked")
        asked_rows.store(engine, run, columns, "code", "device")

    store(Pair(layer, neuron, head_layer, head), 9, TOKENS // CONTEXT)
    assert (rows(url, EVERY_ROW), rows(url, EVERY_RELATION)) == before
    store(Pair(0, 1, 2, 0), 0, FEW // CONTEXT)
    changed = """SELECT p.n_tokens, p.activation, p.o_norm, p.code_version, p.device, count(*), count(r.pearson)
                 FROM path_ablations p JOIN ablation_relations r USING (run_id, neuron_id, head_layer, head, n_rows)
                 WHERE p.neuron_id = :id AND head_layer = 2 GROUP BY 1, 2, 3, 4, 5"""
    assert rows(url, changed, id=of_run.neuron_id(0, 1)) == [(0, None, None, "code", "device", 9, 0)]
    assert ask(url, "relu", (0, 1), (2, 0)).equals(first[first["head"] == "A2.H0"].reset_index(drop=True))
    with pytest.raises(RunError, match="run 77 was deleted meanwhile"):
        store(Pair(0, 1, 2, 0), 9, 1, run=77)
    engine.dispose()
    timeless = [row[:-1] for row in rows(url, EVERY_ROW)]
    assert timeless == [row[:-1] for row in before[0]] and rows(url, EVERY_RELATION) == before[1]
    assert_as_published(url)


def test_a_run_that_comes_to_measure_what_was_asked_for_puts_its_own_in_place(
    url: str, database_url: str, models: dict[str, Path], corpus: Path
) -> None:
    layer, neuron, *head = chosen_pair(url, "serial")
    statement = "SELECT layer, neuron FROM neuron_interventions WHERE model = 'serial' AND purpose = 'candidate' LIMIT 1"
    (candidate,) = rows(url, statement)
    run = {"context": CONTEXT, "intervention_tokens": TOKENS}
    run_ingest(database_url, [models["serial"]], corpus, only=("weights", "activations"), **run)
    both = ((head[0], head[1]), (head[0], 1 - head[1]))
    assert set(ask(database_url, "serial", (layer, neuron), *both, tokens=TOKENS)["purpose"]) == {"asked"}
    held = {"neurons": ((candidate,),), "changes": (("fix", 1.0), ("fix", 1.5)), "tokens": TOKENS, "device": "cpu"}
    intervene(InterveneSettings(model="serial", database_url=database_url, **held), Silent())  # type: ignore[arg-type]
    ablated = "SELECT head_layer, head, purpose FROM path_ablations WHERE neuron_id = 1 + :flat"
    kept = "SELECT value, purpose FROM interventions WHERE purpose = 'asked' OR neuron_id = 1 + :flat AND value = 1 ORDER BY 1"
    for others in ({(*both[1], "asked")}, set()):
        added = run_ingest(database_url, [models["serial"]], corpus, only=("ablations", "entropy"), **run)
        assert added.outcome == "parts_added"
        found = {row for row in rows(database_url, ablated, flat=layer * D_MLP + neuron) if row[:2] in both}
        assert found == {(*both[0], "chosen"), *others}
        assert rows(database_url, kept, flat=candidate[0] * D_MLP + candidate[1]) == [(1, "candidate"), (1.5, "asked")]
        relations, ablations = "SELECT count(*) FROM ablation_relations", "SELECT 9 * count(*) FROM path_ablations"
        assert rows(database_url, relations) == rows(database_url, ablations)
        assert_as_published(database_url)
        # the second time the run has these parts by an older definition, which had chosen the other pair as well
        engine = writer_engine(database_url)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE run_parts SET definition_version = 0 WHERE part IN ('ablations', 'entropy')")
            connection.exec_driver_sql("UPDATE path_ablations SET purpose = 'chosen'")
        engine.dispose()


LAST = "neuron 2.3 is in the last layer, after which no attention comes"


@pytest.mark.parametrize(
    ("changed", "error", "sentence"),
    [
        ({"model": "nobody"}, NotFoundError, "there is no model 'nobody'; the catalog has parallel, relu, serial, shallow."),
        ({"run": 9}, NotFoundError, "there is no published run 9, the published ones are: 1"),
        ({"neuron": (3, 0)}, NotFoundError, "serial has no neuron 3.0; its layers are 0 to 2, its neurons 0 to 23."),
        ({"neuron": (0, 24)}, NotFoundError, "serial has no neuron 0.24; its layers are 0 to 2, its neurons 0 to 23."),
        ({"heads": ((2, 0), (3, 0))}, NotFoundError, "serial has no head 3.0; its layers are 0 to 2, its heads 0 to 1."),
        ({"heads": ((2, 2),)}, NotFoundError, "serial has no head 2.2; its layers are 0 to 2, its heads 0 to 1."),
        ({"heads": ()}, InputError, "no head is given; name one or more of a later layer than the neuron's."),
        (
            {"heads": ((1, 1), (0, 1))}, InputError,
            "serial: neuron 0.3 does not act on heads of layer 0, because a layer's attention comes before its MLP; give a "
            "head of layers 1 to 2.",
        ),
        ({"neuron": (1, 3), "heads": ((1, 0),)}, InputError, "before its MLP; give a head of layer 2."),
        ({"neuron": (2, 3), "heads": ((2, 0),)}, InputError, f"serial: {LAST}."),
        ({"model": "parallel", "neuron": (2, 3), "heads": ((1, 0),)}, InputError, f"parallel: {LAST}."),
        ({"model": "shallow", "heads": ((0, 1),)}, InputError, "shallow: neuron 0.3 is in the last layer"),
        ({"tokens": 0}, InputError, "--tokens 0 is too small; give 1 or more."),
        ({"batch_tokens": 0}, InputError, "--batch-tokens 0 is too small; give 1 or more."),
        ({"device": "abacus"}, InputError, "--device 'abacus' is no device; give auto, cpu or cuda:N."),
    ],
)  # fmt: skip
def test_what_cannot_be_ablated_is_said_before_anything_is_read(
    url: str, changed: dict[str, object], error: type[Exception], sentence: str
) -> None:
    before, heard = rows(url, EVERY_ROW), Heard()
    given = {"model": "serial", "neuron": (0, 3), "heads": ((2, 0),), "device": "cpu", "database_url": url, **changed}
    with pytest.raises(error) as raised:
        ablate(AblateSettings(**given), heard)  # type: ignore[arg-type]
    said = str(raised.value)
    assert sentence in said and said.endswith(".") and "\n" not in said
    assert rows(url, EVERY_ROW) == before and heard.phases == []


def test_a_parallel_layer_says_that_its_attention_comes_beside_its_neurons(url: str) -> None:
    before = rows(url, EVERY_ROW)
    with pytest.raises(InputError) as raised:
        ask(url, "parallel", (1, 3), (1, 0))
    assert str(raised.value) == (
        "parallel: neuron 1.3 does not act on heads of layer 1, because a layer's attention comes beside its MLP; give a head "
        "of layer 2."
    )
    assert rows(url, EVERY_ROW) == before


def test_a_run_that_cannot_be_read_again_is_refused(database_url: str, tmp_path: Path, corpus: Path) -> None:
    tokenizer = factories.byte_bpe_tokenizer()
    model, texts = factories.tiny_gpt2(tmp_path / "moving", 0, tokenizer), tmp_path / "texts.jsonl"
    run_ingest(database_url, [model], None, only=("weights",))
    with pytest.raises(NotFoundError, match="run 1, the newest with moving, read no corpus to measure on"):
        ask(database_url, "moving", (0, 1), (1, 0))
    with pytest.raises(NotFoundError, match="run 1 read no corpus to measure on"):
        ask(database_url, "moving", (0, 1), (1, 0), run=1)
    texts.write_bytes(corpus.read_bytes())
    run_ingest(database_url, [model], texts, only=("weights", "activations"))
    texts.write_text(texts.read_text().replace("the", "xyz"))
    with pytest.raises(InputError, match="the corpus gives other tokens than those that run 2 read"):
        ask(database_url, "moving", (0, 1), (1, 0))
    texts.write_bytes(corpus.read_bytes())
    factories.tiny_gpt2(tmp_path / "moving", 1, tokenizer)
    with pytest.raises(InputError, match=r"moving is not the model that run 2 read \(other weights"):
        ask(database_url, "moving", (0, 1), (1, 0))
    (tmp_path / "moving" / "config.json").unlink()
    with pytest.raises(InputError, match=r"run 2 cannot be read again, because .* has no config\.json"):
        ask(database_url, "moving", (0, 1), (1, 0))
    assert rows(database_url, EVERY_ROW) == []


def test_the_command_prints_a_row_per_head(settings: pytest.MonkeyPatch, catalog: Callable[..., Answer], url: str) -> None:
    settings.setenv("CATALOG_DATABASE_URL", url)
    words = ("ablate", "serial", "0.7", "2.0", "A1.H1", "--tokens", str(FEW), "--device", "cpu", "--format", "json")
    answer = catalog(*words)
    assert answer.code == 0, answer.err
    assert [(row["neuron"], row["head"]) for row in answer.rows] == [("0.7", "A1.H1"), ("0.7", "A2.H0")]
    relations = [f"{of}_{x}_{y}" for x, y in asked.SHOWN_RELATIONS for of in ("pearson", "spearman")]
    assert list(answer.rows[0]) == ["neuron", "head", "purpose", "n_tokens", "activation", *NUMBERS, *relations]
    for arguments, sentence in (
        (("0.07", "2.0"), "'0.07' is no LAYER.INDEX; write the layer, a point and the index, such as 3.10."),
        *(
            (("0.7", word), f"{word!r} is no LAYER.HEAD; write the layer, a point and the head, such as 5.0 or A5.H0.")
            for word in ("2", "2.00", "A2.0", "2.H0", "a2.h0", "A2H0", "2.0,1.0", "2.99999")
        ),
        (("0.7", "2.9"), "serial has no head 2.9; its layers are 0 to 2, its heads 0 to 1."),
    ):
        refused = catalog("ablate", "serial", *arguments)
        assert (refused.code, refused.out, refused.err) == (1, "", f"error: {sentence}\n")
