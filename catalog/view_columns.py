"""What each column of a view is: said in `catalog.view_words`, or passed through from a column that says it itself."""

import re
from collections.abc import Iterator, Mapping

import catalog.schema  # noqa: F401  (fills the metadata)
from catalog.base import metadata
from catalog.view_words import EVERYWHERE, OF_VIEW, PASSED_ON

_SOURCE = r"\b(?:FROM|JOIN)\s+(\w+)\.(\w+)(?:\s+(?!ON\b|WHERE\b|JOIN\b|CROSS\b|LEFT\b)(\w+))?"
_ENDS = re.compile(r"\sFROM\s")
_WHOLE = r"\(SELECT \* FROM public\.(\w+)[^()]*\)\s+(\w+)"


def words_of(view: str, select: str) -> dict[str, str]:
    """The comment of each column of a view, in order.

    Words of the view go before words of the name, and those before the comment of a table's column that is passed through.

    Raises:
        KeyError: a column has no words, or the view has words for a column that it lacks.
    """
    own, tables = OF_VIEW.get(view, {}), _tables_of(select)
    said: dict[str, str] = {}
    for column, source in columns_of(select):
        words = own.get(column) or EVERYWHERE.get(column) or _passed_on(column, source, tables)
        if not words:
            raise KeyError(f"column {column} of view {view} needs words in catalog/view_words.py")
        said[column] = words
    if unknown := set(own) - set(said):
        raise KeyError(f"view {view} has no column {min(unknown)}, for which catalog/view_words.py has words")
    return said


def columns_of(select: str) -> Iterator[tuple[str, str]]:
    """Name of each column that a SELECT answers, and the expression that it is."""
    head = re.match(r"SELECT (?:DISTINCT ON \([^)]*\) )?", select)
    assert head is not None, select
    for item in _split(select[head.end() :]):
        found = re.fullmatch(r'(.*?)(?:\s+AS\s+|(?<=\.))"?(\w+)"?', item.strip(), re.DOTALL)
        assert found is not None, item
        yield found[2], item.strip().removesuffix(f" AS {found[2]}")


def _split(text: str) -> Iterator[str]:
    """The items of a select list, which ends at the FROM that is in no parentheses."""
    depth, start, quoted = 0, 0, False
    for place, sign in enumerate(text):
        quoted ^= sign == "'"
        if quoted:
            continue
        depth += (sign in "([") - (sign in ")]")
        ends = depth == 0 and _ENDS.match(text, place) is not None
        if ends or (depth == 0 and sign == ","):
            yield text[start:place]
            start = place + 1
        if ends:
            return


def _tables_of(select: str) -> dict[str, str]:
    """Table by alias, of the tables and the whole tables in parentheses that the view joins; not of inner queries."""
    outer = re.sub(_WHOLE, r"JOIN public.\1 \2", select)
    while (peeled := re.sub(r"\([^()]*\)", "", outer)) != outer:
        outer = peeled
    return {alias or table: table for schema, table, alias in re.findall(_SOURCE, outer) if schema == "public"}


def _passed_on(column: str, source: str, tables: Mapping[str, str]) -> str | None:
    """The comment of the table's column that an expression is, if it is one and keeps its name."""
    found = re.fullmatch(rf'(\w+)\."?{column}"?', source)
    table = None if found is None else metadata.tables.get(tables.get(found[1], ""))
    return None if table is None else PASSED_ON.get(f"{table.name}.{column}", table.columns[column].comment)
