"""Nothing of a corpus vanishes in silence: encodings, types of columns, odd values, folders, and what is told of them."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.documents import DocumentCounts
from catalog.errors import InputError
from ingest.corpus import json_lines, told
from ingest.corpus.documents import read_documents
from ingest.corpus.files import CorpusSource, check_source
from ingest.corpus.json_lines import json_values
from tests.factories import random_texts, write_jsonl

TEXTS = random_texts(30)
LONG = "x" * 60


def zst(content: bytes) -> bytes:
    buffer = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(buffer, "zstd") as stream:
        stream.write(content)
    return buffer.getvalue().to_pybytes()


COMPRESSIONS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zst}


def lines(values: list[Any]) -> bytes:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()


def documents(texts: list[str]) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


def read(path: Path, **options: Any) -> tuple[list[str], dict[str, str]]:
    """The texts that are kept, and the files that hold none."""
    source, left_out = CorpusSource(str(path), **options), {}
    found = check_source(source)
    return [d.text for d in read_documents(source, found, left_out) if d.dropped is None], left_out


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as raised:
        read(path, **options)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


# --- encodings -------------------------------------------------------------------------------------------------------

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


# --- columns with types ----------------------------------------------------------------------------------------------


def parquet(path: Path, **columns: pyarrow.Array) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


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


# --- folders ---------------------------------------------------------------------------------------------------------


def tree(folder: Path, **content: Any) -> Path:
    """Files by name, `__` for a slash and `_` for a point."""
    for key, values in content.items():
        path = folder / key.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        content_ = values if isinstance(values, bytes) else lines(values)
        path.write_bytes(COMPRESSIONS.get(path.suffix.lower(), bytes)(content_))
    return folder


def test_a_folder_is_read_whole_in_the_order_of_its_names(tmp_path: Path) -> None:
    names = ["a_jsonl", "b__d_Json_GZ", "b__deep__c_JSONL", "b__e_ndjson", "f_jsonl_ZST", "g_jsonl_xz", "h_json_bz2"]
    folder = tree(tmp_path / "c", **{name: documents([text]) for name, text in zip(reversed(names), TEXTS, strict=False)})
    (folder / "b" / "f.Parquet").write_bytes(parquet(tmp_path / "p", text=pyarrow.array([LONG])).read_bytes())
    texts = list(reversed(TEXTS[: len(names)]))
    assert read(folder) == ([*texts[:4], LONG, *texts[4:]], {})


def test_what_is_left_out_of_a_folder_is_listed(tmp_path: Path, make_corpus: Any) -> None:
    folder = tree(
        tmp_path / "c", a_jsonl=documents(TEXTS), README_md=b"# about", data__x_csv=b"text\nabc\n", data__y_TXT=b"text",
        dataset_infos_json=[{"features": {"text": "string"}}], meta_json=b'{\n "name": "it",\n "n": 3\n}\n',
        list_json=b'["a", "b"]', z_jsonl=b"", _cache__old_jsonl=documents(TEXTS), _git__HEAD=b"ref",
    )  # fmt: skip
    (folder / "bodies.parquet").write_bytes(parquet(tmp_path / "p", body=pyarrow.array([LONG])).read_bytes())
    expected = {
        "README.md": "with another ending",
        "data/x.csv": "with another ending",
        "data/y.TXT": "with another ending",
        ".cache/old.jsonl": "hidden",
        "dataset.infos.json": "without a column 'text'",
        "meta.json": "without a column 'text'",
        "bodies.parquet": "without a column 'text'",
        "list.json": "without objects",
        "z.jsonl": "empty",
    }
    fresh, cached = make_corpus(folder), make_corpus(folder)
    assert fresh.meta.left_out == cached.meta.left_out == expected
    assert fresh.meta.documents == DocumentCounts(kept=30)
    (said,) = told.sentences(cached.meta)
    assert said.startswith(f"9 files are left out of the folder {folder}: ")
    for part in (
        "3 with another ending (README.md, data/x.csv, data/y.TXT)",
        "3 without a column 'text' (",
        "1 hidden (.cache/old.jsonl)",
    ):
        assert part in said
    assert told.record(cached.meta)["files_left_out"] == expected
    (folder / "later.txt").write_text("x")
    assert make_corpus(folder).meta.left_out == expected | {"later.txt": "with another ending"}


@pytest.mark.parametrize("content", [b'{"name": "it"}', b'{\n "name": "it"\n}', b'["a", "b"]', b"3"])
def test_a_file_without_texts_is_refused_as_the_corpus_itself(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    path.write_bytes(content)
    assert str(path) in refusal(path)
    (tmp_path / "other.txt").write_text("x")
    assert refusal(tmp_path) == refusal(path), "a folder of nothing else"


def test_a_file_with_some_texts_is_read_and_the_rest_of_it_counted(tmp_path: Path, make_corpus: Any) -> None:
    folder = tree(tmp_path / "c", a_jsonl=documents(TEXTS), b_jsonl=[{"id": 1}, {"text": LONG}, {"id": 2}])
    corpus = make_corpus(folder)
    assert corpus.meta.documents == DocumentCounts(kept=31, null=2) and corpus.meta.left_out == {}


def test_one_json_object_over_several_lines_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"text": LONG}, indent=1))
    assert read(path) == ([LONG], {})
    path.write_text('{"text": \n')
    assert "cannot be read" in refusal(path)


def test_a_damaged_file_in_a_folder_is_refused_until_it_is_excluded(tmp_path: Path) -> None:
    folder = tree(tmp_path / "c", a_jsonl=documents(TEXTS), b_jsonl=b'{"text": "a"}\n{"te\n')
    assert "line 2 of" in refusal(folder) and "b.jsonl" in refusal(folder)
    assert read(folder, exclude=("b.jsonl",)) == (TEXTS, {})
    os.symlink(tmp_path / "nowhere", folder / "gone.jsonl")
    with pytest.raises(InputError, match=r"gone\.jsonl cannot be read \(\[?.*No such file"):
        read(folder, exclude=("b.jsonl",))


@pytest.mark.parametrize(
    ("options", "kept", "n_left_out"),
    [
        ({"include": ("en/*.jsonl",)}, "bc", 3),
        ({"include": ("**/*.jsonl",)}, "abcd", 1),
        ({"include": ("en",), "exclude": ("en/c.jsonl",)}, "b", 4),
        ({"exclude": ("**/deep/",)}, "abce", 1),
        ({"exclude": ("*.jsonl", "**/e.json")}, "bcd", 2),
    ],
)
def test_include_and_exclude_choose_files(
    options: dict[str, Any], kept: str, n_left_out: int, tmp_path: Path, make_corpus: Any
) -> None:
    names = {"a": "a_jsonl", "b": "en__b_jsonl", "c": "en__c_jsonl", "d": "fr__deep__d_jsonl", "e": "fr__e_json"}
    folder = tree(tmp_path / "c", **{name: documents([f"{letter} {TEXTS[0]}"]) for letter, name in names.items()})
    assert "".join(text[0] for text in read(folder, **options)[0]) == kept
    left_out = make_corpus(folder, **options).meta.left_out
    assert set(left_out.values()) == {"by --include or --exclude"} and len(left_out) == n_left_out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"include": ("*.txt",)}, "--include '*.txt' matches nothing"),
        ({"exclude": ("nothing*",)}, "--exclude 'nothing*' matches nothing"),
        ({"exclude": ("*.jsonl",)}, "no file that --include and --exclude leave"),
        ({"split": "test"}, "--split does nothing"),
        ({"revision": "main"}, "--corpus-revision does nothing"),
    ],
)
def test_choices_that_choose_nothing_are_refused(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    folder = tree(tmp_path / "c", a_jsonl=documents(TEXTS))
    assert says in refusal(folder, **options)


def test_options_that_cannot_act_are_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", documents([LONG]))
    assert "--exclude does nothing" in refusal(path, exclude=("x",))
    columns = parquet(tmp_path / "c.parquet", text=pyarrow.array([LONG]))
    assert "--encoding does nothing" in refusal(columns, encoding="latin-1")
    for options, says in (({"include": ("x",)}, "--include"), ({"encoding": "utf-16"}, "--encoding")):
        with pytest.raises(InputError, match=f"{says} does nothing for somebody/something"):
            check_source(CorpusSource("somebody/something", **options))


def test_folders_behind_links_are_read_once(tmp_path: Path) -> None:
    folder = tree(tmp_path / "c", a_jsonl=documents(TEXTS[:1]))
    outside = tree(tmp_path / "elsewhere", b_jsonl=documents(TEXTS[1:2]))
    os.symlink(outside, folder / "linked")
    os.symlink(folder, outside / "round")
    assert read(folder) == (TEXTS[:2], {})


def test_names_that_are_no_text_are_told_and_recorded(tmp_path: Path, make_corpus: Any) -> None:
    folder = tree(tmp_path / "c", a_jsonl=documents(TEXTS))
    Path(os.fsdecode(os.fsencode(folder) + b"/b\xff.txt")).write_text("x")
    meta = make_corpus(folder).meta
    assert list(told.record(meta)["files_left_out"]) == ["b\N{REPLACEMENT CHARACTER}.txt"]
    assert "b\N{REPLACEMENT CHARACTER}.txt" in told.sentences(meta)[0]


def test_what_changes_the_text_changes_the_cache_entry(tmp_path: Path, make_corpus: Any) -> None:
    folder = tree(tmp_path / "c", a_jsonl=documents(TEXTS[:15]), b_jsonl=documents(TEXTS[15:]))
    whole, part, copy = make_corpus(folder), make_corpus(folder, exclude=("b.jsonl",)), folder.rename(tmp_path / "copy")
    assert whole.n_rows > part.n_rows
    np.testing.assert_array_equal(make_corpus(copy, include=("*.jsonl",)).tokens, whole.tokens)
    assert len(list((tmp_path / "cache").iterdir())) == 2


# --- before anything heavy -------------------------------------------------------------------------------------------


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
