"""Rows as a DataFrame whose column types follow the database's, not the values that happened to come."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

INTEGERS = (20, 21, 23)
"""Type numbers of int8, int2 and int4 in PostgreSQL."""
NUMBERS = (700, 701, 1700)
"""float4, float8 and numeric."""
BOOLEAN = 16
TEXTS = (18, 19, 25, 1042, 1043)


def typed_frame(names: Sequence[str], types: Sequence[int], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Rows with their column names and PostgreSQL type numbers.

    NULL is NaN in numbers; integers and booleans with NULL get pandas' nullable types, so that 12 never becomes 12.0.
    """
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    series = [pd.Series(list(values), dtype=_dtype(kind, values)) for kind, values in zip(types, columns, strict=True)]
    made = pd.concat(series, axis=1) if series else pd.DataFrame()
    made.columns = pd.Index(names)
    return made


def _dtype(kind: int, values: Sequence[Any]) -> Any:
    if kind in NUMBERS:
        return "float64"
    if kind in INTEGERS:
        return "Int64" if None in values else "int64"
    if kind == BOOLEAN:
        return "boolean" if None in values else "bool"
    return "str" if kind in TEXTS else None if values else "object"
