"""Columns with types: what of parquet and of data sets is text."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from catalog.documents import DocumentCounts
from catalog.errors import InputError
from ingest.corpus.documents import read_documents
from ingest.corpus.files import CorpusSource, check_source
from tests.unit.corpus_files import LONG, TEXTS, parquet, read, refusal

TEXTUAL = {
    "string": pyarrow.array(TEXTS),
    "large_string": pyarrow.array(TEXTS, pyarrow.large_string()),
    "string_view": pyarrow.array(TEXTS, pyarrow.string_view()),
    "dictionary": pyarrow.array(TEXTS).dictionary_encode(),
}

NOT_TEXTUAL = {
    "binary": (pyarrow.array([text.encode() for text in TEXTS]), "decode the bytes"),
    "list<element: string>": (pyarrow.array([[text] for text in TEXTS]), "join the parts"),
    "struct<a: string>": (pyarrow.array([{"a": text} for text in TEXTS]), "join the parts"),
    "int64": (pyarrow.array(range(len(TEXTS))), "write the column as strings"),
    "bool": (pyarrow.array([True] * len(TEXTS)), "write the column as strings"),
    "dictionary<values=binary, indices=int32, ordered=0>": (
        pyarrow.array([text.encode() for text in TEXTS]).dictionary_encode(), "write the column as strings",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTUAL)
def test_strings_are_text_however_they_are_stored(kind: str, tmp_path: Path) -> None:
    assert read(parquet(tmp_path / "C.PARQUET", text=TEXTUAL[kind])) == (TEXTS, {})


@pytest.mark.parametrize("kind", NOT_TEXTUAL)
def test_a_parquet_column_of_another_type_is_refused_by_its_type(kind: str, tmp_path: Path) -> None:
    column, conversion = NOT_TEXTUAL[kind]
    path = parquet(tmp_path / "c.parquet", text=column, body=pyarrow.array(TEXTS), n=pyarrow.array(range(30)))
    said = refusal(path)
    assert said.startswith(f"column 'text' of {path} holds {kind}, not text; {conversion}")
    assert said.endswith("name a column of text with --text-column: body.")
    assert read(path, text_column="body") == (TEXTS, {})
    assert "no other column holds text" in refusal(parquet(tmp_path / "d.parquet", text=column))


def test_strings_that_are_no_utf_8_are_refused_with_row_and_byte(tmp_path: Path) -> None:
    texts = pyarrow.array([LONG.encode(), b"caf\xe9" * 20]).cast(pyarrow.binary())
    broken = pyarrow.Array.from_buffers(pyarrow.string(), 2, texts.buffers())
    path = parquet(tmp_path / "c.parquet", text=broken)
    assert f"row 2 of column 'text' of {path} is not UTF-8: byte 0xe9 at offset 3 " in refusal(path)


def test_null_in_parquet_is_counted(tmp_path: Path, make_corpus: Any) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    parquet(folder / "a.parquet", text=pyarrow.array([*TEXTS, None]))
    parquet(folder / "b.parquet", text=pyarrow.nulls(4))
    assert make_corpus(folder).meta.documents == DocumentCounts(kept=30, null=5)


def test_subsets_of_bytes_and_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "c.parquet", text=pyarrow.array([LONG]), subset=pyarrow.array([b"a"]))
    assert "holds bytes, which name no subsets" in refusal(path)
    assert read(path, subset_column="") == ([LONG], {})
    twice = pyarrow.table([pyarrow.array([LONG]), pyarrow.array([LONG])], names=["text", "text"])
    pyarrow.parquet.write_table(twice, tmp_path / "twice.parquet")
    assert "has 2 columns 'text'" in refusal(tmp_path / "twice.parquet")


@pytest.mark.parametrize(
    ("column", "says"),
    [([b"abc"], "holds binary, not text"), ([["a"]], "holds list<.*string>, not text"), ([1], "holds int64")],
)
def test_a_data_set_of_the_hub_without_text_is_refused_by_its_type(column: list[Any], says: str, monkeypatch: Any) -> None:
    found = datasets.Dataset.from_dict({"text": column, "body": [LONG]}).to_iterable_dataset()
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: found)
    source = CorpusSource("somebody/something")
    with pytest.raises(InputError, match=rf"data set somebody/something {says}.*--text-column: body\.$"):
        list(read_documents(source, check_source(source), {}))
    source = CorpusSource("somebody/something", text_column="body")
    assert [document.text for document in read_documents(source, None, {})] == [LONG]
