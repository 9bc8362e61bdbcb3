"""Small corpora of every kind, and how they are read or refused."""

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from catalog.errors import InputError
from ingest.corpus.documents import read_documents
from ingest.corpus.files import CorpusSource, check_source
from tests.factories import random_texts

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




def parquet(path: Path, **columns: pyarrow.Array) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path
