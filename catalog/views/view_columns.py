"""What each column of a view is: said by the view, or passed through from a column that says it itself."""

import re
from collections.abc import Iterator, Mapping

from catalog.schema.base import metadata

EVERYWHERE = {
    "run_id": "The published run that measured the row.",
    "model": "The model: its name, or name@revision where a name has several revisions.",
    "layer": "The neuron's transformer block, from 0.",
    "neuron": "The neuron's position in d_mlp, from 0: column index of neurons.",
    "neuron_id": "The neuron: id of neurons.",
    "other_model": "The model of the other neuron: its name, or name@revision.",
    "other_layer": "The other neuron's transformer block, from 0.",
    "other_neuron": "The other neuron's position in d_mlp, from 0.",
    "other_neuron_id": "The other neuron: id of neurons.",
    "feature": "Name of the feature of tokens, as in SPEC 5.",
    "feature_family": "Group of SPEC 5 that the feature is of.",
}
"""By the name of the column, in every view that has no words of its own for it."""

_SOURCE = r"\b(?:FROM|JOIN)\s+(\w+)\.(\w+)(?:\s+(?!ON\b|WHERE\b|JOIN\b|CROSS\b|LEFT\b)(\w+))?"
_ENDS = re.compile(r"\sFROM\s")
_WHOLE = r"\(SELECT \* FROM public\.(\w+)[^()]*\)\s+(\w+)"


def words_of(view: str, select: str, view_words: Mapping[str, str]) -> dict[str, str]:
    """The comment of each column of a view, in order.

    Args:
        view_words: words of the view, by column.

    Words of the view go before words of the name, and those before the comment of a table's column that is passed through.

    Raises:
        KeyError: a column has no words, or the view has words for a column that it lacks.
    """
    tables = _tables_of(select)
    said: dict[str, str] = {}
    for column, source in columns_of(select):
        words = view_words.get(column) or EVERYWHERE.get(column) or _passed_on(column, source, tables)
        if not words:
            raise KeyError(f"column {column} of view {view} needs words")
        said[column] = words
    if unknown := set(view_words) - set(said):
        raise KeyError(f"view {view} has no column {min(unknown)}, for which it has words")
    return said


def columns_of(select: str) -> Iterator[tuple[str, str]]:
    """Name of each column that a SELECT answers, and the expression that it is."""
    head = re.match(r"SELECT (?:DISTINCT ON \([^)]*\) )?", select)
    assert head is not None, select
    for item in _split(select[head.end() :]):
        match = re.fullmatch(r'(.*?)(?:\s+AS\s+|(?<=\.))"?(\w+)"?', item.strip(), re.DOTALL)
        assert match is not None, item
        yield match[2], item.strip().removesuffix(f" AS {match[2]}")


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
    match = re.fullmatch(rf'(\w+)\."?{column}"?', source)
    table = None if match is None else metadata.tables.get(tables.get(match[1], ""))
    return None if table is None else table.columns[column].info["in_views"]
