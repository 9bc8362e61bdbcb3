"""Two models whose tokenizer has no BOS, from the ingest to SQL: nothing of BOS is there, and everything else is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import URL

from catalog import parts
from catalog.errors import InputError
from catalog.server.engine import writer_engine
from catalog.verify.checks import verify
from ingest.asked.ablate import ablate
from ingest.asked.settings import AblateSettings, check_asked
from ingest.checkpoints.checkpoint import Checkpoint
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenizer import text_encoder, tokenizer_identity
from ingest.inputs import load_inputs
from ingest.pipeline.main_path import ingest
from ingest.preview.foreseen import foresee
from ingest.preview.overview import preview
from ingest.progress import Silent
from ingest.recompute.neurons import recompute
from tests import factories
from tests.acceptance.ingests import BUT_SYNTAX, rows, run_ingest
from tests.acceptance.role_models import opened
from tests.acceptance.without_bos import (
    CONTEXT,
    REASON,
    SPECIAL,
    Published,
    Told,
    asked,
    copy_with_noise,
    count,
    publish_without_bos,
)
from tests.commands import run_catalog, use_published_family
from tests.conftest import database
from tests.tokenizer_factories import llama_tokenizer

settings, catalog = use_published_family, run_catalog

published = publish_without_bos


@pytest.fixture(scope="module")
def read(published: Published) -> TokenCorpus:
    """The rows, as the ingest read them."""
    inputs = load_inputs(asked(published.models[:1], published.corpus, only=("entropy",)), Silent())
    assert inputs.corpus is not None
    return inputs.corpus


def test_rows_are_documents_end_to_end_and_hold_no_special_token(published: Published, read: TokenCorpus) -> None:
    tokenizer = opened(published.models[0]).tokenizer
    special = {tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    assert not special & set(np.unique(read.tokens).tolist())
    assert rows(published.url, "SELECT begins_with_bos, context_length, n_tokens = n_rows * context_length FROM corpora") == [
        (False, CONTEXT, True)
    ]
    assert rows(published.url, "SELECT bos_id FROM tokenizers") == [(None,)]
    encode = text_encoder(tokenizer)
    info = tokenizer_identity(tokenizer)
    stored = rows(published.url, "SELECT tokens FROM corpus_rows")
    written = [b"".join(info.token_bytes[i] or b"" for i in tokens).decode(errors="replace") for (tokens,) in stored]
    assert any("<|im_start|>" in text for text in written) and any("<s>" in text for text in written)
    for (tokens,), text in zip(stored[:50], written, strict=False):
        if "\ufffd" not in text and encode([text]) == [tokens]:
            break
    else:
        raise AssertionError("no row is what its text gives")


def test_nothing_of_bos_is_there(published: Published) -> None:
    assert count(published.url, "run_parts", "part = 'ablations'") == 0
    for table in ("head_scores", "head_baselines", "head_norms", "path_ablations", "ablation_relations"):
        assert count(published.url, table) == 0, table
    n = count(published.url, "neurons")
    assert count(published.url, "distribution_statistics", "bos_activation IS NULL AND bos_ratio IS NULL") == n
    empty = "mutual_information_bos IS NULL AND mutual_information_bos_se IS NULL"
    assert count(published.url, "position_statistics", empty) == n
    assert count(published.url, "label_totals", "family IN ('bos', 'attn_activation', 'attn_deactivation')") == 0


def test_everything_else_is_there(published: Published) -> None:
    missing = {"head_scores", "head_baselines", "head_norms", "path_ablations", "ablation_relations"}
    known = {part for (part,) in rows(published.url, "SELECT part FROM run_parts WHERE run_id = 1")}
    assert known == {*BUT_SYNTAX} - {"ablations"}
    # what a tiny model or a corpus may have none of; its neurons have no gates
    optional = {"detected_ngrams", "class_activity", "gate_statistics", "frequency_tests", "frequency_controls"}
    for table in {*parts.filled_by(known)} - missing - optional:
        assert count(published.url, table, "run_id = 1") > 0, table
    n = count(published.url, "neurons")
    known_position = "mutual_information IS NOT NULL AND pattern IS NOT NULL AND pos_std IS NOT NULL"
    assert count(published.url, "position_statistics", known_position) == n
    assert count(published.url, "distribution_statistics", "post_p99_9 IS NOT NULL") == n


def activations(model: Checkpoint, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pre and post of all neurons, (rows, context, neurons)."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def keep(layer: int, pre: torch.Tensor, post: torch.Tensor) -> None:
        seen.append((pre.numpy().copy(), post.numpy().copy()))

    model.visit_activations(torch.from_numpy(tokens), keep)
    pre, post = (np.concatenate(values, axis=1).reshape(*tokens.shape, -1) for values in zip(*seen, strict=True))
    return pre, post


def test_the_first_position_counts_like_any_other(published: Published, read: TokenCorpus) -> None:
    model, tokens = opened(published.models[0]), np.asarray(read.tokens, dtype=np.int64)
    kept = read.kept_mask(tokens)
    assert kept[:, 0].sum() > 900
    assert rows(published.url, "SELECT n_kept FROM corpora") == [(kept.sum(),)]
    pre, _ = activations(model, tokens)
    active = (pre > 0).mean(0)
    overall = active.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(active > 0, active * np.log(active / overall), 0)
        terms += np.where(active < 1, (1 - active) * np.log((1 - active) / (1 - overall)), 0)
    expected = np.where((overall > 0) & (overall < 1), np.maximum(terms.mean(0), 0), 0)
    of_model = "FROM {} p JOIN neurons n ON n.id = p.neuron_id JOIN models m ON m.id = n.model_id WHERE m.name = 'tiny-a'"
    order = 'ORDER BY n.layer, n."index"'
    found = rows(published.url, f"SELECT p.mutual_information {of_model.format('position_statistics')} {order}")
    np.testing.assert_allclose([float(value) for (value,) in found], expected, atol=1e-6)
    sparsity = (pre > 0)[kept].mean(0)
    found = rows(published.url, f"SELECT p.sparsity, p.n_tokens {of_model.format('activation_statistics')} {order}")
    np.testing.assert_allclose([float(value) for value, _ in found], sparsity, atol=1e-6)
    assert {n for _, n in found} == {kept.sum()}
    # a first token ends no bigram, a second no trigram
    counts = "SELECT p.activations_1, p.activations_2, p.activations_3"
    found = rows(published.url, f"{counts} {of_model.format('ngram_statistics')} {order}")
    positive = (pre > 0) & kept[..., None]
    expected_counts = [positive.sum((0, 1)), positive[:, 1:].sum((0, 1)), positive[:, 2:].sum((0, 1))]
    np.testing.assert_array_equal(np.array(found).T, expected_counts)
    assert count(published.url, "examples", '"position" = 0') > 0
    assert count(published.url, "neuron_examples", "position = 0 AND before <> ''") == 0


def test_features_of_the_previous_token_are_false_of_a_first_one(published: Published, read: TokenCorpus) -> None:
    model, tokens = opened(published.models[0]), np.asarray(read.tokens, dtype=np.int64)
    kept, posts = read.kept_mask(tokens), activations(model, tokens)[1]
    found = rows(
        published.url,
        """SELECT n.layer, n."index", e.n_in, e.n_out, e.mean_in, e.mean_out,
                  (SELECT array_agg(t.token_id) FROM feature_tokens t WHERE t.feature_id = e.feature_id)
             FROM explanations e JOIN neurons n ON n.id = e.neuron_id JOIN models m ON m.id = n.model_id
            WHERE m.name = 'tiny-a' AND e.shift = 'previous' AND e.rank <= 5 ORDER BY e.neuron_id, e.rank LIMIT 40""",
    )
    assert len(found) == 40
    for layer, neuron, n_in, n_out, mean_in, mean_out, ids in found:
        inside = np.zeros_like(kept)
        inside[:, 1:] = np.isin(tokens[:, :-1], ids)
        post = posts[..., layer * model.d_mlp + neuron].astype(np.float64)
        assert (n_in, n_out) == ((inside & kept).sum(), (~inside & kept).sum())
        assert (mean_in, mean_out) == pytest.approx((post[inside & kept].mean(), post[~inside & kept].mean()), abs=1e-5)


def test_it_is_told_and_recorded(published: Published) -> None:
    (sentence,) = published.told
    assert sentence.startswith(f"rows begin without BOS ({REASON}), so what it defines is left out: ")
    assert all(f"({part})" in sentence for part in ("ablations", "attention", "distributions", "positions"))
    ((record,),) = rows(published.url, "SELECT settings -> 'bos' FROM runs WHERE id = 1")
    assert (record["mode"], record["prepended"], record["id"], record["token"]) == ("auto", False, None, None)
    assert record["reason"] == REASON and {*record["left_out"]} == {"ablations", "attention", "distributions", "positions"}
    assert rows(published.url, "SELECT settings -> 'bos' FROM run_parts WHERE part = 'attention'") == [("never",)]


def test_the_same_again_is_known(published: Published) -> None:
    again, told = asked(published.models, published.corpus, database_url=published.url), Told()
    assert ingest(again, told).outcome == "already_published"
    assert told.of_bos == published.told
    assert foresee(again).settings is None


def test_it_verifies(published: Published) -> None:
    engine = writer_engine(published.url)
    found = [*verify(engine, 1), *recompute(engine, 1, 8, 0, "cpu", Silent())]
    engine.dispose()
    assert [finding for finding in found if finding.status != "ok"] == []


def test_verify_finds_an_activation_on_bos(published: Published, template: str, server: URL) -> None:
    engine = writer_engine(published.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE distribution_statistics SET bos_activation = 1 WHERE neuron_id = 1")
    found = {finding.subject for finding in verify(engine, 1) if finding.status != "ok"}
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE distribution_statistics SET bos_activation = NULL WHERE neuron_id = 1")
    engine.dispose()
    assert "the activation on BOS is known where rows begin with it, and nowhere else" in found


def test_a_plan_says_what_is_left_out(published: Published) -> None:
    planned = preview(asked(published.models, published.corpus, database_url=published.url), Silent())
    assert published.told[0] in planned.told
    assert not any(phase.phase.startswith(("norms of heads", "path ablation")) for phase in planned.phases)
    without_corpus = preview(asked(published.models, None, max_tokens=4000, database_url=published.url), Silent())
    assert published.told[0] in without_corpus.told


def test_what_bos_alone_defines_is_refused(published: Published) -> None:
    only = asked(published.models, published.corpus, only=("ablations",), database_url=published.url)
    with pytest.raises(InputError, match=r"^ablations cannot be measured: BOS defines it, and rows begin without "):
        ingest(only, Silent())
    with pytest.raises(InputError, match="ablations cannot be measured"):
        preview(only, Silent())
    one = AblateSettings(model="tiny-a", neuron=(0, 1), heads=((1, 0),), tokens=100, database_url=published.url)
    nothing = r"^run 1 has no attention to BOS to measure: its rows begin without \(the tokenizer has no BOS\)\.$"
    with pytest.raises(InputError, match=nothing):
        check_asked(one)
    with pytest.raises(InputError, match="rows begin without"):
        ablate(one, Silent())


def test_bad_input_is_one_sentence(published: Published) -> None:
    for mode, sentence in (("sometimes", "is not offered"), ("always", "needs a BOS token")):
        for only in (("activations",), ("attention",)):
            wrong = asked(published.models, published.corpus, only=only, bos=mode, database_url=published.url)
            with pytest.raises(InputError, match=sentence) as error:
                ingest(wrong, Silent())
            assert str(error.value).count(". ") == 0 and f"--bos {mode}" in str(error.value).replace("'", "")
    assert count(published.url, "runs", "published_at IS NULL") == 0


def test_never_is_another_corpus_and_another_attention_and_auto_is_always(
    server: URL, template: str, tmp_path: Path
) -> None:
    model = factories.tiny_gpt2(tmp_path / "gpt2", 0, factories.byte_bpe_tokenizer())
    corpus = factories.write_jsonl(tmp_path / "c.jsonl", factories.random_texts(60))
    with database(server, template) as url:
        def run(**more: Any) -> Any:
            return ingest(asked([model], corpus, database_url=url, **{"only": ("activations", "attention")} | more), Silent())

        first, always, never = run(), run(bos="always"), run(bos="never")
        assert (first.outcome, always.outcome, never.outcome) == ("published", "already_published", "published")
        assert always.run_id == first.run_id != never.run_id
        found = rows(url, "SELECT begins_with_bos, tokens.n FROM corpora c, LATERAL (SELECT n_tokens AS n) tokens ORDER BY id")
        assert [begins for begins, _ in found] == [True, False]
        identities = rows(url, "SELECT settings ? 'begins_with_bos', settings -> 'bos' ->> 'prepended' FROM runs ORDER BY id")
        assert identities == [(False, "true"), (True, "false")]
        assert rows(url, "SELECT run_id, settings FROM run_parts WHERE part = 'attention' ORDER BY 1") == [
            (first.run_id, {"context": CONTEXT, "seed": 0}),
            (never.run_id, {"context": CONTEXT, "seed": 0, "bos": "never"}),
        ]
        assert count(url, "head_scores", f"run_id = {first.run_id}") > 0
        assert count(url, "head_scores", f"run_id = {never.run_id}") == 0
        # of weights alone: the part is the same run's, measured again
        told = Told()
        weights = [
            ingest(asked([model], None, only=("attention",), context=12, database_url=url, bos=bos), told)
            for bos in ("never", "auto")
        ]
        assert weights[0].run_id == weights[1].run_id and weights[1].outcome == "parts_added"
        assert any("attention is measured again with --bos not given (was never)" in sentence for sentence in told.sentences)
        assert count(url, "head_scores", f"run_id = {weights[0].run_id}") > 0
        engine = writer_engine(url)
        found = [*verify(engine, never.run_id), *recompute(engine, never.run_id, 8, 0, "cpu", Silent())]
        engine.dispose()
        assert [finding for finding in found if finding.status != "ok"] == []


@pytest.mark.parametrize("first", ["said", "silent"])
def test_a_copy_that_lost_what_is_said_of_bos_begins_as_its_model(
    server: URL, template: str, tmp_path: Path, first: str
) -> None:
    """With a control, which is of the first model alone, as is all that is read again."""
    models = [factories.tiny_gpt2(tmp_path / "said", 0, llama_tokenizer()), tmp_path / "silent"]
    copy_with_noise(*models)
    config = models[0] / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"add_bos_token": False}))
    corpus = factories.write_jsonl(tmp_path / "c.jsonl", factories.random_texts(60))
    ordered = models if first == "said" else models[::-1]
    with database(server, template) as url:
        wanted = asked(ordered, corpus, only=("activations", "correlations"), controls=1, database_url=url)
        assert ingest(wanted, Silent()).outcome == "published"
        records = rows(url, "SELECT settings -> 'bos' ->> 'mode', settings -> 'bos' -> 'prepended' FROM runs ORDER BY id")
        assert records == [("auto", False), ("auto", False)]
        assert rows(url, "SELECT DISTINCT begins_with_bos FROM corpora") == [(False,)]
        assert ingest(wanted, Silent()).outcome == "already_published"
        engine = writer_engine(url)
        verified = [finding for run in (1, 2) for finding in verify(engine, run)]
        found = verified + [finding for run in (1, 2) for finding in recompute(engine, run, 4, 0, "cpu", Silent())]
        engine.dispose()
        assert [finding for finding in found if finding.status != "ok"] == []


def test_the_command_line_has_it(catalog: Any, tmp_path: Path) -> None:
    answer = catalog("ingest", str(tmp_path), "--corpus", str(tmp_path), "--bos", "sometimes")
    assert answer.code == 1
    assert "--bos 'sometimes' is not offered" in answer.err
    assert "--bos" in catalog("plan", "--help").out


def test_an_empty_family_says_why(published: Published, settings: pytest.MonkeyPatch, catalog: Any) -> None:
    settings.setenv("CATALOG_DATABASE_URL", published.url)
    for family in ("bos", "attn_activation"):
        answer = catalog("find", "--family", family)
        assert answer.out.strip().count("\n") == 0
        assert f"the family {family} was not looked for in run 1: its rows begin without BOS" in answer.err
    page = catalog("findings", "--limit", "1")
    assert page.code == 0 and "its rows begin without BOS" in page.out
    assert catalog("show", "tiny-a", "0.1").code == 0


def test_run_ingest_with_a_control(published: Published) -> None:
    """A control of such a run is measured as well, on rows without BOS."""
    report = run_ingest(
        published.url, published.models[:1], published.corpus, only=("activations", "positions", "distributions"),
        context=CONTEXT, controls=1, bos="never",
    )  # fmt: skip
    found = rows(published.url, "SELECT count(*) FROM run_controls WHERE run_id = :run", run=report.run_id)
    assert found == [(1,)]
