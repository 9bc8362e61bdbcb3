"""Checkpoints that are not what they say: copies of others, shards of others, and steps of a training, told and asked for."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from catalog.errors import InputError
from catalog.questions.sql import run_reader_sql
from catalog.server.engine import writer_engine
from catalog.verify.checks import verify
from ingest.pipeline.main_path import ingest
from ingest.progress import Silent
from ingest.settings import IngestReport, IngestSettings
from tests import factories
from tests.acceptance.ingests import rows
from tests.database.helpers import execute

TOKENIZER = factories.byte_bpe_tokenizer()
PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"
N_TENSORS = 28
"""Of a tiny GPT-2 of two layers, all of them with enough distinct values."""
Ingest = Callable[..., tuple[IngestReport, list[str]]]


@pytest.fixture
def told(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """An ingest of weights, each of other models, and what it tells."""
    monkeypatch.setenv("CATALOG_HOME", str(tmp_path / "home"))

    def run(*models: Path | str, only: tuple[str, ...] = ("weights",)) -> tuple[IngestReport, list[str]]:
        progress = Silent()
        settings = IngestSettings(models=tuple(map(str, models)), only=only, controls=0, database_url=database_url)
        return ingest(settings, progress), progress.said

    return run


def tiny(folder: Path, seed: int) -> Path:
    return factories.tiny_gpt2(folder, seed, TOKENIZER)


def with_tensors_of(folder: Path, other: Path, copy: Path, *names: str) -> Path:
    """The model with some tensors of another one."""
    model, source = factories.load_raw(folder), factories.load_raw(other).state_dict()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in names:
                parameter.copy_(source[name])
    factories.save_checkpoint(model, TOKENIZER, copy)
    return copy


def on_the_hub(cache: Path, name: str, revisions: dict[str, Path]) -> None:
    """A model of several revisions, as the hub's cache keeps it."""
    repository = cache / f"models--owner--{name}"
    for number, (revision, folder) in enumerate(revisions.items()):
        commit = f"{number:040x}"
        shutil.copytree(folder, repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(commit)


def shared(url: str, schema: str = "public") -> list[tuple]:
    return rows(url, f"SELECT model, other_model, n_shared, n_tensors FROM {schema}.shared_tensors ORDER BY 1, 2")


def ok(url: str) -> bool:
    """Whether `catalog verify` finds nothing in any run."""
    engine = writer_engine(url)
    try:
        runs = [run for (run,) in rows(url, "SELECT id FROM runs ORDER BY id")]
        return {finding.status for run in runs for finding in verify(engine, run)} == {"ok"}
    finally:
        engine.dispose()


def test_one_stale_shard_is_told_within_a_run_and_beside_the_catalog(told: Ingest, database_url: str, tmp_path: Path) -> None:
    old, new = tiny(tmp_path / "old", 0), tiny(tmp_path / "new", 1)
    for folder in (old, new):
        factories.load_raw(folder).save_pretrained(tmp_path / f"{folder.name}-shards", max_shard_size="20KB")
        TOKENIZER.save_pretrained(tmp_path / f"{folder.name}-shards")
    shards = sorted((tmp_path / "new-shards").glob("*.safetensors"))
    assert len(shards) > 1
    shutil.copy(tmp_path / "old-shards" / shards[-1].name, shards[-1])
    stale = {name for name, _ in _shared_parameters(old, tmp_path / "new-shards")}
    assert 0 < len(stale) < N_TENSORS
    _, said = told(old, f"stale={tmp_path / 'new-shards'}")
    names = sorted(stale)
    sentence = f"stale shares {len(names)} of {N_TENSORS} tensors with old: {listed(names)}"
    assert said == [sentence]
    assert shared(database_url) == [("old", "stale", len(names), N_TENSORS), ("stale", "old", len(names), N_TENSORS)]
    assert rows(database_url, "SELECT names FROM shared_tensors WHERE model = 'stale'") == [(names,)]
    assert told(old, f"stale={tmp_path / 'new-shards'}", only=("redundancy",))[1] == [sentence]
    _, said = told(f"again={tmp_path / 'new-shards'}")
    assert said == [
        f"again has the very weights of stale: all {N_TENSORS} tensors are equal (of the catalog)",
        f"again{sentence.removeprefix('stale')} (of the catalog)",
    ]
    _, said = told(new)
    rest = sorted({name for name, _ in factories.load_raw(new).named_parameters()} - stale)
    sentence = f"new shares {len(rest)} of {N_TENSORS} tensors with {{}}: {listed(rest)} (of the catalog)"
    assert said == [sentence.format("stale"), sentence.format("again")]
    assert ok(database_url)


def _shared_parameters(one: Path, other: Path) -> list[tuple[str, torch.Tensor]]:
    theirs = dict(factories.load_raw(other).named_parameters())
    return [(name, value) for name, value in factories.load_raw(one).named_parameters() if torch.equal(value, theirs[name])]


def listed(names: list[str]) -> str:
    """As a sentence names them."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def test_constants_and_copies_within_a_model_are_not_shared(told: Ingest, database_url: str, tmp_path: Path) -> None:
    """Gains of one, biases of zero, and rounded gains, of which there are few, in models of other weights."""
    made = []
    for seed in (0, 1):
        model = factories.load_raw(factories.tiny_neox(tmp_path / f"raw-{seed}", seed, TOKENIZER))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
                elif parameter.ndim == 1:
                    parameter.copy_(1 + torch.arange(len(parameter)) % 8 / 128)
            model.get_output_embeddings().weight.copy_(model.get_input_embeddings().weight)
        factories.save_checkpoint(model, TOKENIZER, tmp_path / f"m{seed}")
        made.append(tmp_path / f"m{seed}")
    _, said = told(*made)
    assert said == [] and shared(database_url) == []
    one_copy = with_tensors_of(made[1], made[0], tmp_path / "m2", "gpt_neox.embed_in.weight", "lm_head.weight")
    _, said = told(one_copy)
    assert said[0].startswith("m2 shares 8 of 9 tensors with m1: gpt_neox.layers.0.attention.dense.weight, ")
    assert said[1:] == ["m2 shares 1 of 9 tensors with m0: gpt_neox.embed_in.weight (of the catalog)"]
    assert rows(database_url, "SELECT names FROM shared_tensors WHERE (model, other_model) = ('m2', 'm0')") == [
        (["gpt_neox.embed_in.weight", "lm_head.weight"],)
    ]
    assert rows(database_url, "SELECT DISTINCT n_shared, n_tensors FROM shared_tensors ORDER BY 1") == [(1, 9), (8, 9)]
    execute_on(database_url, "UPDATE rules SET value = 8 WHERE (family, parameter) = ('tensors', 'min_distinct')")
    assert ("m0", "m1") in {row[:2] for row in shared(database_url)}


def test_of_many_models_some_are_named(told: Ingest, database_url: str, tmp_path: Path) -> None:
    """All of them with one embedding; a pair of the run is named once, and so are five models of the catalog."""
    first = tiny(tmp_path / "m0", 0)
    others = [
        with_tensors_of(tiny(tmp_path / f"raw{seed}", seed), first, tmp_path / f"m{seed}", "transformer.wte.weight")
        for seed in range(1, 8)
    ]
    shares = f"{{}} shares 1 of {N_TENSORS} tensors with {{}}: transformer.wte.weight"
    _, said = told(first, *others[:6])
    assert said == [shares.format(f"m{one}", f"m{other}") for one in range(7) for other in range(one)]
    _, said = told(others[6])
    assert said == [
        *(f"{shares.format('m7', f'm{other}')} (of the catalog)" for other in range(5)),
        "m7 shares tensors with 2 more models of the catalog, see the view shared_tensors",
    ]
    assert len(shared(database_url)) == 8 * 7


def execute_on(url: str, statement: str) -> None:
    engine = writer_engine(url)
    execute(engine, statement)
    engine.dispose()


def test_the_sign_of_zero_makes_no_other_model(told: Ingest, database_url: str, tmp_path: Path) -> None:
    folder = tiny(tmp_path / "plus", 0)
    model = factories.load_raw(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.view(-1)[:3] = 0.0
    factories.save_checkpoint(model, TOKENIZER, folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.view(-1)[:2] = -0.0
    factories.save_checkpoint(model, TOKENIZER, tmp_path / "minus")
    told(folder)
    report, said = told(tmp_path / "minus")
    assert report.message == "run 1 has weights of these models already" or report.message.startswith("run 1 has it all")
    assert said == [f"minus has the very weights of plus: all {N_TENSORS} tensors are equal (of the catalog)"]
    with pytest.raises(InputError, match=f"{folder} and {tmp_path / 'minus'} are the same model; give each model once"):
        told(folder, tmp_path / "minus")


@pytest.mark.parametrize("order", [("step0", "step1", "step2", "step1000"), ("step1000", "step2", "step1", "step0")])
def test_a_training_whose_first_steps_are_one(
    told: Ingest, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]
) -> None:
    """Step 0 = step 1, and the embedding stays for another step: whichever is ingested first."""
    start, end = tiny(tmp_path / "a", 0), tiny(tmp_path / "b", 1)
    second = with_tensors_of(tiny(tmp_path / "c", 2), start, tmp_path / "d", "transformer.wte.weight")
    on_the_hub(tmp_path / "hub", "tiny", {"step0": start, "step1": start, "step2": second, "step1000": end, "main": end})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    said = {revision: told(f"owner/tiny@{revision}") for revision in order}
    first, twin = sorted(("step0", "step1"), key=order.index)
    assert said[twin][0].outcome == "already_published"
    assert f"tiny@{twin} has the very weights of " in said[twin][1][0]
    assert said[max(("step0", "step2"), key=order.index)][1][-1].startswith(
        ("tiny@step0 shares 1 of", "tiny@step2 shares 1 of")
    )
    lineage = rows(
        database_url,
        """SELECT training, step, checkpoint, model, previous_step, n_equal, n_tensors, share_equal, init
             FROM lineages ORDER BY training, step""",
    )
    begin = f"tiny@{first}"
    assert lineage == [
        ("tiny", 0, "tiny@step0", begin, None, None, N_TENSORS, None, None if first == "step0" else begin),
        ("tiny", 1, "tiny@step1", begin, 0, N_TENSORS, N_TENSORS, 1.0, None if first == "step0" else begin),
        ("tiny", 2, "tiny@step2", "tiny@step2", 1, 1, N_TENSORS, 1 / N_TENSORS, begin),
        ("tiny", 1000, "tiny@step1000", "tiny@step1000", 2, 0, N_TENSORS, 0.0, begin),
    ]
    assert ok(database_url)
    statements = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert [len(run_reader_sql(statement, database_url)) for statement in statements] == [2, 4]


def test_steps_are_read_off_folders_and_odd_names_are_no_steps(told: Ingest, database_url: str, tmp_path: Path) -> None:
    for number, seed in ((0, 0), (500, 1)):
        told(tiny(tmp_path / "small" / f"checkpoint-{number}", seed))
    told(f"other-step7={tiny(tmp_path / 'x', 2)}")
    told(f"odd-step{'9' * 40}={tiny(tmp_path / 'y', 3)}")
    assert rows(database_url, "SELECT name, training, step, init_of FROM models ORDER BY id") == [
        ("checkpoint-0", "small", 0, None),
        ("checkpoint-500", "small", 500, 1),
        ("other-step7", "other", 7, None),
        (f"odd-step{'9' * 40}", None, None, None),
    ]


def test_an_odd_revision_is_one_sentence(told: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_hub(tmp_path / "hub", "tiny", {"step0": tiny(tmp_path / "a", 0)})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for revision in ("step", "step1", "step-1-2", f"step{'9' * 300}", "step\u0661", "step0/../x", "refs/convert"):
        with pytest.raises(InputError) as caught:
            told(f"owner/tiny@{revision}")
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_model_that_was_hashed_as_a_whole_is_no_other_model(told: Ingest, database_url: str, tmp_path: Path) -> None:
    """As an earlier version published it: no tensors, and a hash that no model has any more."""
    folder = tiny(tmp_path / "m", 0)
    told(folder)
    execute_on(database_url, "DELETE FROM model_tensors")
    execute_on(database_url, "UPDATE models SET weights_sha256 = 'of older code', identity = 'of older code'")
    execute_on(database_url, "UPDATE runs SET identity = 'of older code'")
    with pytest.raises(InputError, match=r"'m' that was published before tensors were hashed .* NEWNAME="):
        told(folder)
    report, said = told(f"n={folder}")
    assert report.outcome == "published" and said == []
