"""Models whose tokenizers are not byte-level, from files to readers; and another tokenizer beside the same weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import InputError
from tests import factories
from tests.acceptance.ingests import rows, run_ingest
from tests.commands import run_catalog, use_published_family
from tests.tokenizer_factories import SCRIPTS, llama_tokenizer, unigram_tokenizer

settings = use_published_family
catalog = run_catalog

PARTS = ("activations", "vocabulary", "examples")


def corpus_of(folder: Path) -> Path:
    """Words, and now and then a character that the vocabularies lack."""
    texts = [f"{text} 猫 {SCRIPTS['greek']} {SCRIPTS['emoji']}" for text in factories.random_texts(60)]
    return factories.write_jsonl(folder / "corpus.jsonl", [{"text": text, "subset": "all"} for text in texts])


def test_a_unigram_model_has_spaces_in_its_tokens_and_no_bytes_of_what_is_unknown(database_url: str, tmp_path: Path) -> None:
    model = factories.tiny_gpt2(tmp_path / "uni", tokenizer=unigram_tokenizer())
    run_ingest(database_url, [model], corpus_of(tmp_path), only=PARTS)
    tokens = {i: (text, raw) for i, text, raw in rows(database_url, "SELECT token_id, text, bytes FROM tokens")}
    assert [pair for pair in tokens.values() if pair[1] is None] == [("<unk>", None)] and tokens[0] == ("<unk>", None)
    assert (" the", b" the") in tokens.values() and not [text for text, _ in tokens.values() if "▁" in text]
    assert rows(database_url, "SELECT newline_id FROM tokenizers") == [(None,)]
    spaced = dict(rows(database_url, FEATURE_TOKENS, name="start_w_space_and_letter"))
    assert set(spaced) == {i for i, (text, _) in tokens.items() if text[:1] == " " and text[1:2].isalpha()} and spaced
    assert rows(database_url, "SELECT feature_id FROM feature_tokens WHERE token_id = 0") == []
    shown = "before || token || after LIKE '%<unk>%' AND before || token || after LIKE '% the%'"
    assert rows(database_url, f"SELECT count(*) > 0 FROM neuron_examples WHERE {shown}") == [(True,)]


FEATURE_TOKENS = """
    SELECT x.token_id, t.text FROM feature_tokens x JOIN features f ON f.id = x.feature_id
    JOIN tokens t ON t.tokenizer_id = x.tokenizer_id AND t.token_id = x.token_id WHERE f.name = :name"""


def test_a_model_of_byte_fallback_masks_its_newline_and_shows_whole_characters(
    database_url: str, tmp_path: Path, settings: pytest.MonkeyPatch, catalog: Any
) -> None:
    model = factories.tiny_gpt2(tmp_path / "llama", tokenizer=llama_tokenizer())
    run_ingest(database_url, [model], corpus_of(tmp_path), only=PARTS)
    newline = "SELECT t.bytes FROM tokenizers k JOIN tokens t ON t.tokenizer_id = k.id AND t.token_id = k.newline_id"
    assert rows(database_url, newline) == [(b"\n",)]
    assert rows(database_url, "SELECT count(*) FROM tokens WHERE bytes IS NULL AND text <> '<unk>'") == [(0,)]
    first = rows(database_url, "SELECT text, bytes FROM tokens WHERE bytes = '\\xe7'")
    assert first == [("\\xe7", b"\xe7")]
    settings.setenv("CATALOG_DATABASE_URL", database_url)
    page = catalog("show", "llama", "0.1", "--examples", "50")
    assert page.code == 0 and "<0x" not in page.out and "▁" not in page.out
    texts = [text for (text,) in rows(database_url, "SELECT before || token || after FROM neuron_examples")]
    assert any(" 猫 " in text for text in texts) and any("γάτα" in text for text in texts)


def test_the_same_weights_with_another_tokenizer_are_another_model(database_url: str, tmp_path: Path) -> None:
    model = factories.tiny_gpt2(tmp_path / "one" / "tiny")
    lower = tmp_path / "two" / "tiny"
    shutil.copytree(model, lower)
    content = json.loads((lower / "tokenizer.json").read_text())
    (lower / "tokenizer.json").write_text(json.dumps(content | {"normalizer": {"type": "Lowercase"}}))
    first = run_ingest(database_url, [model], None, only=("weights",))
    with pytest.raises(InputError, match="another model named 'tiny' with another tokenizer; give this one a name of its own"):
        run_ingest(database_url, [lower], None, only=("weights",))
    shutil.move(lower, tmp_path / "lower")
    second = run_ingest(database_url, [tmp_path / "lower"], None, only=("weights",))
    assert second.run_id not in (None, first.run_id)
    assert rows(database_url, "SELECT count(DISTINCT tokenizer_id), count(DISTINCT weights_sha256) FROM models") == [(2, 1)]
    texts = factories.random_texts(60)
    corpus = factories.write_jsonl(tmp_path / "corpus.jsonl", texts)
    for folder in (model, tmp_path / "lower"):
        run_ingest(database_url, [folder], corpus, only=("activations",))
    assert rows(database_url, "SELECT count(DISTINCT token_sha256), count(DISTINCT n_tokens) FROM corpora") == [(2, 2)]
