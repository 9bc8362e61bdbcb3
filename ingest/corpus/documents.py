"""Documents one after another from a JSON Lines or Parquet file, a folder of them, or a data set on the hub."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from catalog.documents import SHORTEST_DOCUMENT
from catalog.errors import InputError
from ingest.corpus.files import CorpusFile, CorpusFiles, CorpusSource
from ingest.corpus.json_lines import JsonValue, json_values
from ingest.corpus.text_columns import NoTexts, hub_rows, no_column, parquet_rows

ROWS_WITHOUT_TEXT = 10_000
"""Rows of a corpus of one file after which a column of text that none had is not looked for any more."""
MOST_COLUMNS = 30
"""Columns that a sentence names."""

_SURROGATES = re.compile("[\ud800-\udfff]")


class Document(NamedTuple):
    """One document."""

    text: str
    """Characters that every encoding of Unicode has; empty if it is dropped."""
    subset: str
    dropped: str | None = None
    """Why, as in `DocumentCounts`, if it is."""
    repaired: bool = False


def read_documents(source: CorpusSource, files: CorpusFiles | None, left_out: dict[str, str]) -> Iterator[Document]:
    """All documents in order, streamed.

    Args:
        files: the local files; None on the hub.
        left_out: files of a folder that turn out to hold no texts are added, with the reason.
    Raises:
        InputError: a line is no JSON, or no text is where it should be.
    """
    reader = _Reader(source, alone=files is None or len(files.files) == 1)
    if files is None:
        where = f"the data set {source.location}"
        yield from reader.documents(where, (JsonValue(where, row) for row in hub_rows(source)))
    else:
        first: NoTexts | None = None
        held_texts = False
        for file in files.files:
            try:
                yield from reader.documents(str(file.path), _values(file, source))
                held_texts = True
            except NoTexts as error:
                left_out[file.name] = error.reason
                first = first or error
        if first is not None and not held_texts:
            raise first
    reader.check_subsets()


def _values(file: CorpusFile, source: CorpusSource) -> Iterator[JsonValue]:
    if file.is_parquet:
        return (JsonValue(str(file.path), row) for row in parquet_rows(file.path, source))
    return json_values(file.path, source.encoding)


class _Reader:
    """Turns the values of one file after another into documents."""

    def __init__(self, source: CorpusSource, alone: bool) -> None:
        self.source = source
        self.alone = alone
        """Whether there is nothing else to read."""
        self.has_subsets = False

    def documents(self, where: str, values: Iterable[JsonValue]) -> Iterator[Document]:
        """The documents of one file.

        Raises:
            NoTexts: no value of it is an object with a text.
            InputError: one value is no object, while others have text.
        """
        has_text, absent = False, 0
        columns: dict[str, None] = {}
        odd: JsonValue | None = None
        for value in values:
            row = value.value
            if not isinstance(row, dict):
                odd = odd or value
            elif self.source.text_column in row:
                if not has_text:
                    yield from [Document("", "", "null")] * absent
                has_text = True
                yield self._document(row)
            elif has_text:
                yield Document("", "", "null")
            else:
                absent += 1
                if len(columns) <= MOST_COLUMNS:
                    columns |= dict.fromkeys(map(without_surrogates, sorted(row)))
                if self.alone and absent == ROWS_WITHOUT_TEXT:
                    break
            if odd is not None and has_text:
                raise _no_object(odd)
        if not has_text:
            raise self._without_text(where, absent, list(columns), odd)

    def _document(self, row: dict[str, Any]) -> Document:
        text = row[self.source.text_column]
        self.has_subsets |= self.source.subset_column in row
        if text is None:
            return Document("", "", "null")
        if not isinstance(text, str):
            return Document("", "", "not_text")
        if len(text) <= SHORTEST_DOCUMENT:
            return Document("", "", "short" if text.strip() else "empty")
        subset = row.get(self.source.subset_column) if self.source.subset_column else None
        whole = without_surrogates(text)
        return Document(whole, _subset_name(subset), repaired=whole != text)

    def _without_text(self, where: str, absent: int, columns: list[str], odd: JsonValue | None) -> NoTexts:
        if odd is not None:
            return NoTexts(str(_no_object(odd)), "without objects")
        if absent == 0:
            return NoTexts(
                f"{where} is empty, so it has no document of more than {SHORTEST_DOCUMENT} characters; give another corpus.",
                "empty",
            )
        more = ["…"] if len(columns) > MOST_COLUMNS else []
        return no_column(self.source, where, [*columns[:MOST_COLUMNS], *more])

    def check_subsets(self) -> None:
        """Raises:
        InputError: the column of subsets, named by the user, is nowhere.
        """
        if not self.has_subsets and self.source.subset_column not in ("", CorpusSource.subset_column):
            raise InputError(
                f"no document of {self.source.location} has the column {self.source.subset_column!r}; name another with "
                "--subset-column, or none with --subset-column ''."
            )


def _no_object(odd: JsonValue) -> InputError:
    kind = type(odd.value).__name__
    return InputError(f"{odd.where} holds {kind} values, not objects; give one object with text per line.")


def _subset_name(value: Any) -> str:
    """The value as text that a database takes: no NUL, no lone surrogate; "" for a missing one."""
    return without_surrogates("" if value is None else str(value)).replace("\0", "\N{REPLACEMENT CHARACTER}")


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for what JSON can write and no encoding of Unicode has: halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
    return text
