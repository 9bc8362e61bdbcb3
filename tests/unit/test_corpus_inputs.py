"""Nothing of a corpus vanishes in silence: encodings, types of columns, odd values, folders, and what is told of them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.documents import DocumentCounts
from catalog.errors import InputError
from ingest.corpus import json_lines, told
from ingest.corpus.documents import read_documents
from ingest.corpus.files import CorpusSource, check_source
from ingest.corpus.json_lines import json_values
from tests.factories import write_jsonl
from tests.unit.corpus_files import COMPRESSIONS, LONG, TEXTS, documents, lines, read, refusal

ACCENTS = "naïve café où l'été s'achève déjà, près du théâtre fermé et de la forêt"


@pytest.mark.parametrize("ending", ["", *COMPRESSIONS])
def test_text_in_another_encoding_is_refused_with_file_line_and_byte_until_it_is_named(ending: str, tmp_path: Path) -> None:
    content = lines([{"text": LONG}, {"text": ACCENTS}]).decode().encode("latin-1")
    path = tmp_path / f"c.jsonl{ending}"
    path.write_bytes(COMPRESSIONS.get(ending, bytes)(content))
    said = refusal(path)
    offset = content.index(b"\xef")
    assert f"line 2 of {path} is not UTF-8: byte 0xef at offset {offset}" in said and "--encoding latin-1" in said
    assert read(path, encoding="latin-1") == ([LONG, ACCENTS], {})
    assert "is not ASCII" in refusal(path, encoding="ascii")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_text_of_wide_characters_is_refused_with_the_encoding_to_name(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(lines(documents([LONG, ACCENTS])).decode().encode(encoding))
    assert f"--encoding {encoding}" in refusal(path)
    assert read(path, encoding=encoding) == ([LONG, ACCENTS], {})
    path.write_bytes(lines(documents([LONG])).decode().encode(encoding))
    assert f"--encoding {encoding}" in refusal(path), "where every byte is one of UTF-8"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "UTF8"])
def test_a_byte_order_mark_is_no_text(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines(documents([ACCENTS])))
    assert read(path, encoding=encoding) == ([ACCENTS], {})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=8),
    st.sampled_from(["utf-8", "gb18030", "utf-16-le"]),
    st.integers(1, 9),
    st.data(),
)
def test_the_byte_that_is_named_is_the_first_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str], encoding: str, chunk: int, data: st.DataObject
) -> None:
    """Wherever chunks end, in encodings of one to four bytes per character."""
    monkeypatch.setattr(json_lines, "CHUNK", chunk)
    before = "".join(f"{json.dumps(text, ensure_ascii=False)}\n" for text in texts)
    cut = data.draw(st.integers(0, len(before)))
    wrong = {"utf-8": b"\xff", "gb18030": b"\xff", "utf-16-le": b"\x00\xdc"}[encoding]
    good = before[:cut].encode(encoding)
    (tmp_path / "c.jsonl").write_bytes(good + wrong + before[cut:].encode(encoding))
    with pytest.raises(InputError, match=rf"line {1 + before[:cut].count(chr(10))} of .* at offset {len(good)} ") as raised:
        list(json_values(tmp_path / "c.jsonl", encoding))
    assert f"byte 0x{wrong[0]:02x} " in str(raised.value)


def test_a_character_cut_off_at_the_end_is_refused(tmp_path: Path) -> None:
    content = lines(documents([LONG]))
    (tmp_path / "c.jsonl").write_bytes(content + b'{"text": "\xe2\x82')
    assert f"line 2 of {tmp_path / 'c.jsonl'} is not UTF-8: byte 0xe2 at offset {len(content) + 10}" in refusal(
        tmp_path / "c.jsonl"
    )


@pytest.mark.parametrize("name", ["hex", "nonsense", "", "utf\0"])
def test_an_encoding_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", documents([LONG]))
    assert "is no encoding of text" in refusal(path, encoding=name)


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize("damage", ["cut", "flipped", "plain"])
def test_damaged_compression_is_refused(ending: str, damage: str, tmp_path: Path) -> None:
    plain = lines(documents(TEXTS * 20))
    content = COMPRESSIONS[ending](plain)
    middle = len(content) // 2
    path = tmp_path / f"c.jsonl{ending}"
    damaged = {"cut": content[:middle], "flipped": content[:middle] + b"\0" * 20 + content[middle + 20 :], "plain": plain}
    path.write_bytes(damaged[damage])
    assert str(path) in refusal(path)


# --- values that are no text -----------------------------------------------------------------------------------------


def test_documents_without_text_are_counted_by_reason(tmp_path: Path, make_corpus: Any) -> None:
    odd = [{"text": value} for value in (None, 3, 2.5, True, ["a"], {"a": 1}, "", "  \n ", "short", "\ud800" * 20)]
    path = tmp_path / "c.jsonl"
    values = [{"other": 1}, *documents(TEXTS), *odd, {"text": "\ud83d half " * 9}, {"text": "\ud83d\ude00 whole " * 9}, {}]
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    fresh, cached = make_corpus(path), make_corpus(path)
    counts = DocumentCounts(kept=len(TEXTS) + 2, repaired=1, null=3, not_text=5, empty=2, short=2)
    assert fresh.meta.documents == counts == cached.meta.documents and counts.total == len(values)
    assert told.sentences(fresh.meta) == told.sentences(cached.meta)
    dropped, repaired = told.sentences(cached.meta)
    assert dropped == (
        f"12 of {len(values)} documents of {path} are dropped: 3 null or absent, 5 no text but numbers, lists or the like, "
        "2 empty, 2 of 50 characters or fewer"
    )
    assert repaired.startswith("1 of 32 documents hold halves of surrogate pairs") and "U+FFFD" in repaired


def test_a_lone_surrogate_is_the_replacement_character_and_a_pair_is_its_character(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"text": f"\ud800 {LONG}?"}) + "\n" + '{"text": "\\ud83d\\ude00' + LONG + '"}\n')
    assert read(path)[0] == [f"\N{REPLACEMENT CHARACTER} {LONG}?", f"😀{LONG}"]


def test_a_corpus_read_whole_is_not_talked_about(tmp_path: Path, make_corpus: Any) -> None:
    corpus = make_corpus(write_jsonl(tmp_path / "c.jsonl", documents(TEXTS)))
    assert told.sentences(corpus.meta) == []
    assert told.record(corpus.meta) == {
        "documents": {"kept": 30, "repaired": 0, "null": 0, "not_text": 0, "empty": 0, "short": 0},
        "n_files_left_out": 0,
        "files_left_out": {},
        "subsets_without_rows": [],
    }


def test_a_column_without_any_text_is_refused_with_the_reasons(tmp_path: Path, make_corpus: Any) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": 1}, {"text": None}, {"text": 2}])
    with pytest.raises(InputError, match=r"1 null or absent, 2 no text but numbers.*--text-column\.$"):
        make_corpus(path)


@pytest.mark.parametrize(("odd", "kind"), [("a string", "str"), ([1], "list"), (7, "int"), (None, "NoneType")])
@pytest.mark.parametrize("first", [True, False])
def test_a_line_that_is_no_object_is_refused_with_its_number(odd: Any, kind: str, first: bool, tmp_path: Path) -> None:
    values = documents([LONG, LONG])
    values.insert(0 if first else 2, odd)
    path = tmp_path / "c.jsonl"
    path.write_bytes(lines(values))
    assert refusal(path).startswith(f"line {1 if first else 3} of {path} holds {kind} values, not objects")


def test_the_column_of_text_is_not_looked_for_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.corpus.documents.ROWS_WITHOUT_TEXT", 5)
    path = tmp_path / "c.jsonl"
    path.write_bytes(lines([{"body": LONG}] * 5) + b"never read")
    assert "has no column 'text', its columns are body" in refusal(path)


def test_a_subset_too_small_for_a_row_is_told(tmp_path: Path, make_corpus: Any) -> None:
    values = [{"text": text, "subset": "large"} for text in TEXTS] + [{"text": LONG, "subset": "tiny"}]
    corpus = make_corpus(write_jsonl(tmp_path / "c.jsonl", values), context=100)
    assert corpus.meta.subsets_without_rows == ["tiny"]
    assert told.sentences(corpus.meta) == ["subsets with too few tokens for one row are left out: tiny"]


def test_subsets_may_be_null_or_numbers(tmp_path: Path, make_corpus: Any) -> None:
    values = [{"text": text, "subset": [None, 7, True][i % 3]} for i, text in enumerate(TEXTS)]
    assert make_corpus(write_jsonl(tmp_path / "c.jsonl", values)).subset_names == ["", "7", "True"]
    pd.DataFrame({"text": TEXTS, "subset": pd.array([None, 7] * 15, dtype="Int64")}).to_parquet(tmp_path / "c.parquet")
    assert make_corpus(tmp_path / "c.parquet").subset_names == ["", "7"]


def test_a_named_column_of_subsets_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": LONG, "subset": "s"}])
    assert "no document" in refusal(path, subset_column="kind") and "'kind'" in refusal(path, subset_column="kind")
    source = CorpusSource(str(path), subset_column="")
    assert [document.subset for document in read_documents(source, check_source(source), {})] == [""]




def test_a_corpus_is_looked_at_before_anything_heavy_is_imported() -> None:
    program = """
import sys
from catalog.errors import InputError
from ingest.settings import IngestSettings
try:
    IngestSettings(models=("m",), corpus="absent.jsonl").validate()
except InputError as error:
    print(error)
print(sorted({"torch", "transformers", "datasets", "pyarrow", "pandas", "numpy"} & set(sys.modules)))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    said, imported = answer.stdout.splitlines()
    assert said.startswith("there is no corpus 'absent.jsonl': no such file or folder") and imported == "[]"


@pytest.mark.parametrize(
    "location",
    ["absent.jsonl", "absent.JSONL.zst", "a/b/c", "/absent", "./absent", "../absent", "~/absent", "absent/", "data/absent",
     "texts.txt", "C:\\texts", "~nobody-of-this-name/x", "two words"],
)  # fmt: skip
def test_what_looks_like_a_path_is_told_as_a_missing_path(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match=r"there is no corpus .*no such file or folder|cannot be read") as raised:
        check_source(CorpusSource(location))
    assert "hub (" not in str(raised.value)


@pytest.mark.parametrize("location", ["", "  "])
def test_an_empty_name_is_told_as_such(location: str) -> None:
    with pytest.raises(InputError, match="--corpus is empty"):
        check_source(CorpusSource(location))


def test_a_name_of_the_hub_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for location in ("wikitext", "somebody/some-thing.v2"):
        assert check_source(CorpusSource(location, split="test", revision="main")) is None
