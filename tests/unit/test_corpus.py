"""Corpora: packing, shuffling, masks, odd text, and what is refused; the fixtures are in conftest.py."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from catalog.documents import DocumentCounts
from catalog.errors import InputError
from ingest.corpus import tokenising
from ingest.corpus.blocks import deal, text_hash
from ingest.statistics.jackknife import N_BLOCKS
from tests.factories import END_OF_TEXT, random_texts, write_jsonl

CONTEXT = 16
ODD_TEXTS = {
    "emoji": "👩‍👩‍👧🏽🇺🇳 " * 30,
    "combining accents": "e\u0301a\u0308\u0323 o\u0302 " * 30,
    "CRLF": "one line\r\nanother\r\n\r\n" * 20,
    "NUL": "before\0after \0\0" * 20,
    "CJK": "統一漢字の文章。한국어 문장도." * 20,
    "right to left": "שלום עולם \u202bمرحبا\u202c " * 20,
    "end-of-text in the text": f"a {END_OF_TEXT} b{END_OF_TEXT}" * 20,
    "only spaces and tabs": " \t" * 100,
}


def ids_of(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def sorted_rows(rows: np.ndarray) -> list[tuple[int, ...]]:
    return sorted(map(tuple, np.asarray(rows).tolist()))


# --- packing ---------------------------------------------------------------------------------------------------------


def blocks_of(texts: list[str], subset: str, n_tokens: int) -> np.ndarray:
    """The block of each document of a subset."""
    return deal(subset, np.array([text_hash(text) for text in texts], dtype=np.uint64), n_tokens // (CONTEXT - 1))


def test_rows_are_the_documents_of_each_subset_and_block_end_to_end_behind_a_bos(
    tmp_path: Path, tokenizer: Any, info: Any, make_corpus: Any
) -> None:
    texts = random_texts(40)
    subsets = ["even" if i % 2 == 0 else "odd" for i in range(40)]
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": t, "subset": s} for t, s in zip(texts, subsets, strict=True)])
    corpus = make_corpus(path)
    assert corpus.tokens.dtype == np.int32 and not corpus.tokens.flags.writeable
    assert (corpus.tokens[:, 0] == info.bos_id).all()
    for name in ("even", "odd"):
        chosen = [text for text, subset in zip(texts, subsets, strict=True) if subset == name]
        ids = [ids_of(tokenizer, text) for text in chosen]
        blocks = blocks_of(chosen, name, sum(map(len, ids)))
        assert len(set(blocks)) > 4
        for block in range(N_BLOCKS):
            stream = [i for of_text, b in zip(ids, blocks, strict=True) if b == block for i in of_text]
            n_rows = len(stream) // (CONTEXT - 1)
            expected = np.array(stream[: n_rows * (CONTEXT - 1)]).reshape(n_rows, CONTEXT - 1)
            own = (corpus.subset_ids == corpus.subset_names.index(name)) & (corpus.block_ids == block)
            assert sorted_rows(corpus.tokens[own, 1:]) == sorted_rows(expected)
    assert corpus.n_rows == len(corpus.tokens) and corpus.n_tokens == corpus.tokens.size


def test_only_documents_of_more_than_fifty_characters_are_kept(tmp_path: Path, make_corpus: Any) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", ["x" * 50, "é" * 51, "y" * 51, ""])
    corpus = make_corpus(path)
    assert corpus.meta.documents == DocumentCounts(kept=2, empty=1, short=1)
    assert corpus.n_rows == (2 * 51) // (CONTEXT - 1) + 51 // (CONTEXT - 1)


def test_rows_are_shuffled_before_max_tokens_cuts(tmp_path: Path, make_corpus: Any) -> None:
    rows = [{"text": text, "subset": str(i // 30)} for i, text in enumerate(random_texts(90))]
    path = write_jsonl(tmp_path / "c.jsonl", rows)
    whole, cut = make_corpus(path), make_corpus(path, max_tokens=20 * CONTEXT + 1)
    assert cut.n_rows == 21
    np.testing.assert_array_equal(cut.tokens, whole.tokens[:21])
    assert set(cut.subset_ids.tolist()) == {0, 1, 2}
    other = make_corpus(path, seed=1)
    assert sorted_rows(other.tokens) == sorted_rows(whole.tokens)
    assert other.token_sha256 != whole.token_sha256
    assert make_corpus(path, max_tokens=10**9).n_rows == whole.n_rows


def test_keep_eos_ends_each_document_and_is_masked(tmp_path: Path, info: Any, make_corpus: Any) -> None:
    texts = random_texts(400)
    path = write_jsonl(tmp_path / "c.jsonl", texts)
    without, kept = make_corpus(path), make_corpus(path, keep_eos=True)
    assert (without.tokens[:, 1:] == info.eos_id).sum() == 0
    # the last partial row of each of 32 blocks is dropped, and with it the ends of a document or two
    assert 400 - 2 * N_BLOCKS <= (kept.tokens[:, 1:] == info.eos_id).sum() <= 400
    assert not kept.kept_mask(kept.tokens)[kept.tokens == info.eos_id].any()


def test_the_mask_leaves_out_special_ids_and_newline_alone(tmp_path: Path, info: Any, make_corpus: Any) -> None:
    corpus = make_corpus(write_jsonl(tmp_path / "c.jsonl", random_texts(20)))
    kept = corpus.kept_mask(corpus.tokens)
    assert kept.shape == corpus.tokens.shape and kept.dtype == bool
    assert set(np.unique(corpus.tokens[~kept])) == {info.bos_id, info.newline_id}
    assert not set(np.unique(corpus.tokens[kept])) & set(info.masked_ids)


def test_text_without_subsets_is_one_nameless_subset(tmp_path: Path, make_corpus: Any) -> None:
    corpus = make_corpus(write_jsonl(tmp_path / "c.jsonl", random_texts(20)))
    assert corpus.subset_names == [] and set(corpus.subset_ids.tolist()) == {0}


def test_a_subset_too_short_for_a_row_gives_none(tmp_path: Path, make_corpus: Any) -> None:
    rows = [{"text": text, "subset": "long"} for text in random_texts(20)]
    rows.append({"text": random_texts(1, words_each=12)[0][:60], "subset": "short"})
    corpus = make_corpus(write_jsonl(tmp_path / "c.jsonl", rows), context=100)
    assert {corpus.subset_names[i] for i in corpus.subset_ids} == {"long"}


# --- formats ---------------------------------------------------------------------------------------------------------


def test_every_file_format_gives_the_same_tokens(tmp_path: Path, make_corpus: Any) -> None:
    rows = [{"text": text, "subset": "ab"[i % 2]} for i, text in enumerate(random_texts(30))]
    expected = make_corpus(write_jsonl(tmp_path / "c.jsonl", rows))
    write_jsonl(tmp_path / "c.jsonl.gz", rows)
    (tmp_path / "c.json").write_text(json.dumps(rows, indent=1).replace("[\n", "[ ", 1))
    (tmp_path / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "c.jsonl").read_bytes().replace(b"\n", b"\r\n"))
    pd.DataFrame(rows).assign(other=1).to_parquet(tmp_path / "c.parquet", row_group_size=7)
    (tmp_path / "folder").mkdir()
    write_jsonl(tmp_path / "folder" / "1.jsonl", rows[:10])
    write_jsonl(tmp_path / "folder" / "2.jsonl.gz", rows[10:])
    for name in ("c.jsonl.gz", "c.json", "bom.jsonl", "c.parquet", "folder"):
        assert make_corpus(tmp_path / name).token_sha256 == expected.token_sha256, name


def test_columns_may_have_other_names(tmp_path: Path, make_corpus: Any) -> None:
    texts = random_texts(20)
    plain = make_corpus(write_jsonl(tmp_path / "a.jsonl", [{"text": text, "subset": "s"} for text in texts]))
    other = write_jsonl(tmp_path / "b.jsonl", [{"content": text, "kind": "s", "text": 1} for text in texts])
    assert make_corpus(other, text_column="content", subset_column="kind").token_sha256 == plain.token_sha256


# --- odd text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(ODD_TEXTS))
def test_odd_text_is_kept_to_the_byte(kind: str, tmp_path: Path, info: Any, make_corpus: Any) -> None:
    text = ODD_TEXTS[kind]
    corpus = make_corpus(write_jsonl(tmp_path / "c.jsonl", [text]), context=2, seed=0)
    # rows of one token each: put back in order by their place in the unshuffled stream
    order = np.random.default_rng(0).permutation(corpus.n_rows)
    ids = np.empty(corpus.n_rows, dtype=int)
    ids[order] = corpus.tokens[:, 1]
    assert b"".join(info.token_bytes[i] for i in ids) == text.encode()
    assert info.eos_id not in ids


def test_a_single_line_of_a_megabyte_takes_time_in_proportion(tmp_path: Path, make_corpus: Any) -> None:
    line = " ".join(text.replace("\n", " ") for text in random_texts(4000))[:1_000_000]
    seconds = []
    for name, text in (("short", line[:250_000]), ("long", line), ("solid", line.replace(" ", ""))):
        path = write_jsonl(tmp_path / f"{name}.jsonl", [text])
        began = time.process_time()
        corpus = make_corpus(path)
        seconds.append(time.process_time() - began)
        assert corpus.meta.documents == DocumentCounts(kept=1)
    assert seconds[1] < 12 * seconds[0] + 1
    assert seconds[2] < 12 * seconds[0] + 2


def test_values_that_are_no_text_are_counted_and_lone_surrogates_become_u_fffd(tmp_path: Path, make_corpus: Any) -> None:
    good = random_texts(20)
    path = tmp_path / "c.jsonl"
    lines = [json.dumps({"text": text, "subset": None}) for text in good]
    lines += ['{"text": null}', '{"text": 3}', "", '{"text": "' + "\\ud800 abc " * 10 + '", "subset": "\\ud800\\u0000"}']
    path.write_text("\n".join(lines))
    corpus = make_corpus(path)
    assert corpus.meta.documents == DocumentCounts(kept=21, repaired=1, null=1, not_text=1)
    assert corpus.subset_names == ["", "\N{REPLACEMENT CHARACTER}" * 2]


def test_progress_hears_of_every_document(tmp_path: Path, make_corpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenising, "BATCH_DOCUMENTS", 7)
    heard: list[int] = []
    make_corpus(write_jsonl(tmp_path / "c.jsonl", [*random_texts(20), "short"]), progress=heard.append)
    assert heard == [7, 7, 7]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"body": "x", "subset": "y"}\n', "no column 'text', its columns are body, subset"),
        ("", "no document of more than 50 characters"),
        ('{"text": "short"}\n', "no document of more than 50 characters"),
        ('{"text": "' + "q" * 60 + '"}\n', r"has 60 tokens in its largest subset.*--context 61"),
        ('{"text": "a"}\n{"text": \n', "line 2 of .* is no JSON"),
        ("just some words\n", "line 1 of .* is no JSON"),
        ('"a string"\n', "holds str values, not objects"),
        ("[1, 2]\n", "holds int values, not objects"),
        ('[{"text": "a"}\n', "cannot be read"),
        ("[" * 100_000 + "\n", "cannot be read|is no JSON"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_refused(content: str, says: str, tmp_path: Path, make_corpus: Any) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=says) as raised:
        make_corpus(path, context=100)
    assert "\n" not in str(raised.value) and str(raised.value).endswith(".")
    assert list((tmp_path / "cache").iterdir()) == []


def test_damaged_files_are_refused(tmp_path: Path, make_corpus: Any) -> None:
    rows = random_texts(50)
    compressed = write_jsonl(tmp_path / "c.jsonl.gz", rows).read_bytes()
    pd.DataFrame({"text": rows}).to_parquet(tmp_path / "c.parquet")
    parquet = (tmp_path / "c.parquet").read_bytes()
    middle = len(compressed) // 2
    for name, content in (
        ("cut.jsonl.gz", compressed[:middle]),
        ("flipped.jsonl.gz", compressed[:middle] + b"\0" * 20 + compressed[middle + 20 :]),
        ("plain.jsonl.gz", b"{}"),
        ("cut.parquet", parquet[:-50]),
        ("text.parquet", b"no parquet"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read|is no JSON"):
            make_corpus(tmp_path / name)


def test_parquet_without_text_names_its_columns(tmp_path: Path, make_corpus: Any) -> None:
    pd.DataFrame({"body": ["x"], "n": [1]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(InputError, match="no column 'text', its columns are body, n"):
        make_corpus(tmp_path / "c.parquet")


def test_places_without_a_corpus_are_refused_at_once(
    tmp_path: Path, make_corpus: Any, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for location, says in (
        ("absent.jsonl", "there is no corpus"),
        ("data/absent", "there is no corpus"),
        ("/absent/file.parquet", "there is no corpus"),
        ("../absent", "there is no corpus"),
        ("data", "has no file that ends in"),
        ("notes.txt", "is no corpus file"),
    ):
        with pytest.raises(InputError, match=says):
            make_corpus(Path(location))


def test_a_column_of_unique_values_names_no_subsets(tmp_path: Path, make_corpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenising, "MOST_SUBSETS", 10)
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": t, "subset": str(i)} for i, t in enumerate(random_texts(11))])
    with pytest.raises(InputError, match="more than 10 values"):
        make_corpus(path)
