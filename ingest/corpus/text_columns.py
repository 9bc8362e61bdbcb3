"""Rows of Parquet files and of data sets on the hub, whose columns have types: text, or what is told to be none."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import InputError
from ingest.corpus.files import CorpusSource

if TYPE_CHECKING:
    import pyarrow

PARQUET_ROWS = 1000


class NoTexts(InputError):
    """A file that holds no texts at all; in a folder it is left out."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
        """In a few words."""


def no_column(source: CorpusSource, where: str, columns: list[str]) -> NoTexts:
    """The sentence for a file in which nothing has the column of text."""
    has = f"its columns are {', '.join(columns)}" if columns else "it has none"
    name = repr(source.text_column)
    return NoTexts(f"{where} has no column {name}, {has}; name one with --text-column.", f"without a column {name}")


def parquet_rows(path: Path, source: CorpusSource) -> Iterator[dict[str, Any]]:
    """The columns of text and subset, where there is one, of every row.

    Raises:
        NoTexts: no column of text.
        InputError: the file is damaged, or the column holds no text.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            check_columns(file.schema_arrow, source, str(path))
            wanted = [name for name in (source.text_column, source.subset_column) if name in file.schema_arrow.names]
            first = 1
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=wanted):
                yield from _python_rows(batch, path, first)
                first += batch.num_rows
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); give an undamaged Parquet file.") from None


def _python_rows(batch: "pyarrow.RecordBatch", path: Path, first: int) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for i, value in enumerate(column):
                try:
                    value.as_py()
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"row {first + i} of column {name!r} of {path} is not UTF-8: byte 0x{error.object[error.start]:02x} at "
                        f"offset {error.start} of the text ({error.reason}); write the file again as UTF-8."
                    ) from None
        raise
    return rows


def check_columns(schema: "pyarrow.Schema", source: CorpusSource, where: str) -> None:
    """Whether the columns can be text and subset.

    Raises:
        NoTexts: no column of text.
        InputError: the column of text holds none, or that of subsets holds bytes.
    """
    if source.text_column not in schema.names:
        raise no_column(source, where, schema.names)
    twice = [name for name in (source.text_column, source.subset_column) if schema.names.count(name) > 1]
    if twice:
        raise InputError(f"{where} has {schema.names.count(twice[0])} columns {twice[0]!r}; rename all but one of them.")
    held = schema.field(source.text_column).type
    if not _is_text(held):
        texts = [name for name, other in zip(schema.names, schema.types, strict=True) if _is_text(other, null=False)]
        others = f"or name a column of text with --text-column: {', '.join(texts)}" if texts else "no other column holds text"
        raise InputError(f"column {source.text_column!r} of {where} holds {held}, not text; {_conversion(held)}, {others}.")
    if source.subset_column in schema.names and _is_bytes(schema.field(source.subset_column).type):
        raise InputError(
            f"column {source.subset_column!r} of {where} holds bytes, which name no subsets; name another column with "
            "--subset-column, or none with --subset-column ''."
        )


def _is_text(held: "pyarrow.DataType", null: bool = True) -> bool:
    """Whether values are strings, however they are stored; `null`: a column of nothing but NULL is no other type."""
    from pyarrow import BaseExtensionType, types

    if types.is_dictionary(held):
        return _is_text(held.value_type, null)
    if isinstance(held, BaseExtensionType):
        return _is_text(held.storage_type, null)
    if types.is_null(held):
        return null
    return types.is_string(held) or types.is_large_string(held) or types.is_string_view(held)


def _is_bytes(held: "pyarrow.DataType") -> bool:
    from pyarrow import types

    kinds = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(kind(held) for kind in kinds)


def _conversion(held: "pyarrow.DataType") -> str:
    from pyarrow import types

    if _is_bytes(held):
        return "decode the bytes and write the column as strings"
    if types.is_nested(held):
        return "join the parts of each value and write the column as strings"
    return "write the column as strings"


def hub_rows(source: CorpusSource) -> Iterator[dict[str, Any]]:
    """Every row of a data set on the hub, streamed.

    Raises:
        InputError: the hub has no such data set or cannot be reached, or its column of text holds none.
    """
    from datasets import load_dataset

    try:
        data_set = load_dataset(source.location, split=source.split or "train", revision=source.revision, streaming=True)
        if data_set.features is not None:
            check_columns(data_set.features.arrow_schema, source, f"the data set {source.location}")
        yield from data_set
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the corpus {source.location} is no file or folder here, and cannot be read from the hub ({reason.rstrip('.')}); "
            "give a local JSON Lines or Parquet file, or a folder of them."
        ) from None
