"""The sign of a gated neuron is a convention: a model and its sign-flipped twin have identical rows in every table."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import URL

from catalog import parts
from ingest.checkpoints import checkpoint
from tests.acceptance.ingests import rows, run_ingest
from tests.conftest import database
from tests.decoders import tiny_decoder
from tests.factories import byte_bpe_tokenizer, load_raw, random_texts, write_jsonl
from tests.sign_twins import plant_candidate, sign_twin

CANDIDATE = 6
TABLES = """SELECT c.relname::text FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
               AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'alembic_version' ORDER BY 1"""
KEY = """SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_index i
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
          WHERE i.indisprimary AND i.indrelid = CAST(:table AS regclass)"""

FILES = {
    *(("models", name) for name in ("weights_sha256", "identity", "source", "control_of")),
    *(("runs", name) for name in ("identity", "plan", "settings", "asked")),
    ("run_parts", "models_sha256"),
    ("model_tensors", "sha256"),
    *(("run_checksums", name) for name in ("bits", "total")),
}
"""Columns that say which files were read, and checksums of tables that have such a column."""
TIMES = {"created_at", "started_at", "published_at", "finished_at", "written_at", "beat_at"}
OF_PROVENANCE = {"models", "model_tensors", "runs", "run_parts", "run_jobs", "run_models"}
"""Tables whose checksum is over provenance as well."""
EMPTY = {"class_activity", "detected_ngrams"}
"""Tables of parts in which a random model may have no rows: hardly a neuron acts on a few tokens alone, or is active on one."""

Dump = dict[str, list[dict[str, Any]]]


def dumped(url: str) -> Dump:
    """Every table of the public schema, in the order of its key."""
    tables = [table for (table,) in rows(url, TABLES)]
    keys = {table: rows(url, KEY, table=f"public.{table}")[0][0] for table in tables}
    return {
        table: [row for (row,) in rows(url, f"SELECT to_jsonb(t) FROM public.{table} t ORDER BY {key}")]
        for table, key in keys.items()
    }


def differences(one: Dump, other: Dump) -> set[tuple[str, str]]:
    """Tables and columns of rows that differ."""
    assert one.keys() == other.keys()
    found = set()
    for table, rows_of_one in one.items():
        if len(rows_of_one) != len(other[table]):
            found.add((table, "number of rows"))
        for left, right in zip(rows_of_one, other[table], strict=False):
            assert left.keys() == right.keys()
            found |= {(table, name) for name in left if left[name] != right[name]}
    return found


def as_of_twin(document: Any, one: Dump, other: Dump) -> str:
    """What tells of the files of a model, as if it told of its twin's."""
    told = json.dumps(document, sort_keys=True)
    for model, twin in zip(one["models"], other["models"], strict=True):
        for name in ("identity", "weights_sha256", "source"):
            told = told.replace(model[name], twin[name])
    return told


@torch.no_grad()
def write_like(folder: Path, copy: Path) -> Path:
    """A model that is nearly another one, so that neurons match and are universal, whose own signs are random."""
    tiny_decoder("llama", copy, 1, byte_bpe_tokenizer())
    like, model = load_raw(folder), load_raw(copy)
    noise = torch.Generator().manual_seed(5)
    for own, of_like in zip(model.parameters(), like.parameters(), strict=True):
        own.copy_(of_like + 0.05 * of_like.std() * torch.randn(own.shape, generator=noise))
    model.save_pretrained(copy)
    return copy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its twin, and a third one that both are matched with; a corpus with subsets."""
    made = tmp_path_factory.mktemp("twins")
    original = tiny_decoder("llama", made / "original", 0, byte_bpe_tokenizer())
    plant_candidate(original, CANDIDATE)
    assert 10 < sign_twin(original, made / "twin", 3) < 38
    write_like(original, made / "third")
    texts = [{"text": text, "subset": ("novels", "Code")[i % 2]} for i, text in enumerate(random_texts(150))]
    write_jsonl(made / "corpus.jsonl", texts)
    return made


@contextmanager
def published(server: URL, template: str, folder: Path, name: str, **settings: object) -> Iterator[str]:
    """Address of a catalog with the model of this name, as `one`, and the third."""
    with database(server, template) as url:
        run_ingest(url, [f"one={folder / name}", str(folder / "third")], folder / "corpus.jsonl", **settings)
        yield url


def both(server: URL, template: str, folder: Path, **settings: object) -> list[Dump]:
    found = []
    for name in ("original", "twin"):
        with published(server, template, folder, name, **settings) as url:
            found.append(dumped(url))
    return found


def test_a_twin_has_the_same_rows_in_every_table(server: URL, template: str, folder: Path) -> None:
    """With every part there is, and a control: ids, names of features and labels included; not provenance and times."""
    one, other = both(server, template, folder, only=(), controls=1)
    assert {table for table in parts.tables() if not one[table]} <= EMPTY and sum(map(len, one.values())) > 20_000
    differ = {(table, name) for table, name in differences(one, other) if name not in TIMES}
    told = [row["table_name"] for row, there in zip(one["run_checksums"], other["run_checksums"], strict=True) if row != there]
    assert differ - {("runs", "code_version")} == FILES, "the code's version may change beside the test"
    assert {*told} <= OF_PROVENANCE
    for run, of_twin in zip(one["runs"], other["runs"], strict=True):
        for name in ("plan", "settings", "asked"):
            assert as_of_twin(run[name], one, other) == json.dumps(of_twin[name], sort_keys=True)
    assert sum(row["universal"] == "yes" for row in one["universality"]) > 10 and one["replaced_neurons"]


def test_without_the_sign_rule_twins_differ(
    server: URL, template: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the comparison sees what it is there to see."""
    monkeypatch.setattr(checkpoint, "apply_sign_rule", lambda modules: None)
    one, other = both(server, template, folder, only=("activations", "gates", "correlations", "distributions"))
    differ = differences(one, other)
    assert {("gate_statistics", "share_open_positive"), ("activation_statistics", "post_mean")} <= differ
    assert {("pairs", "correlation"), ("universality", "excess_corr"), ("histograms", "post")} <= differ
    same = {("activation_statistics", "mean"), ("histograms", "pre"), ("subset_statistics", "rectified")}
    assert not same & differ, "what is read off the gate has no sign to choose"
