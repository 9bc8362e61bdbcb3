"""Folders as corpora: which files are read, in which order, and what is told of the others."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from catalog.documents import DocumentCounts
from catalog.errors import InputError
from ingest.corpus import told
from ingest.corpus.files import CorpusSource, check_source
from tests.factories import write_jsonl
from tests.unit.corpus_files import COMPRESSIONS, LONG, TEXTS, documents, lines, parquet, read, refusal


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
