"""The sign of a gated neuron is a convention: a model and its sign-flipped twin have identical rows in every table."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL

from catalog import parts
from ingest.checkpoints import checkpoint
from tests.acceptance.ingests import rows, run_ingest
from tests.conftest import database
from tests.decoders import tiny_decoder
from tests.factories import byte_bpe_tokenizer, random_texts, write_jsonl
from tests.sign_twins import plant_candidate, sign_twin

CANDIDATE = 6
TABLES = """SELECT c.relname::text FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
               AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'alembic_version' ORDER BY 1"""
PROVENANCE = {
    "models": {"weights_sha256", "identity", "source"},
    "runs": {"identity", "created_at", "started_at", "published_at", "finished_at", "code_version", "timings"},
}
"""Columns that tell which files were read, and when."""
EMPTY: set[str] = set()

Dump = dict[str, list[str]]


@contextmanager
def published(server: URL, template: str, models: list[str], corpus: Path, **settings: object) -> Iterator[str]:
    with database(server, template) as url:
        run_ingest(url, models, corpus, **settings)
        yield url


def dumped(url: str) -> Dump:
    """Every table of the public schema, a row a text, without provenance; in order."""
    return {
        table: [
            row for (row,) in rows(
                url,
                f"SELECT (to_jsonb(t) - CAST(:but AS text[]))::text AS row FROM public.{table} t ORDER BY 1",
                but=sorted(PROVENANCE.get(table, ())),
            )
        ]
        for (table,) in rows(url, TABLES)
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("twins")


def test_x(server: URL, template: str, folder: Path) -> None:
    tokenizer = byte_bpe_tokenizer()
    original = tiny_decoder("llama", folder / "original", 0, tokenizer)
    plant_candidate(original, CANDIDATE)
    other = tiny_decoder("llama", folder / "other", 1, tokenizer)
    assert sign_twin(original, folder / "twin", 3) > 10
    texts = [{"text": text, "subset": ("novels", "Code")[i % 2]} for i, text in enumerate(random_texts(150))]
    corpus = write_jsonl(folder / "corpus.jsonl", texts)
    found = []
    for name in ("original", "twin"):
        with published(server, template, [f"one={folder / name}", f"other={other}"], corpus, only=()) as url:
            found.append(dumped(url))
    for table, one in found[0].items():
        two = found[1][table]
        differ = [(a, b) for a, b in zip(one, two) if a != b]
        print(table, len(one), len(two), len(differ), [(a[:600], b[:600]) for a, b in differ[:1]])
    print("EMPTY", [t for t in found[0] if not found[0][t]])
    assert 0
