"""`catalog.connect()`: the questions as methods of one object, for notebooks and tools.

Each question is one method, whatever its rows are shown as: `Catalog` shows DataFrames, to Python users; `RowCatalog` the
rows as they came, to the command line, which so never loads pandas.
"""

from typing import TYPE_CHECKING

from sqlalchemy import Engine

from catalog.answers import Rows
from catalog.server.engine import check_schema, writer_engine
from catalog.store import Store

if TYPE_CHECKING:
    import pandas as pd


class Catalog(Store["pd.DataFrame"]):
    """A catalog whose tables are DataFrames.

    >>> with catalog.connect() as store:                                # doctest: +SKIP
    ...     store.find_labels(catalog.LabelFilter(family="alphabet"))
    """

    def _shown(self, rows: Rows) -> "pd.DataFrame":
        return rows.frame()


class RowCatalog(Store[Rows]):
    """A catalog whose tables are rows by position."""

    def _shown(self, rows: Rows) -> Rows:
        return rows


def connect(url: str | None = None) -> Catalog:
    """Open the catalog of CATALOG_DATABASE_URL, or the embedded one, which is started if need be.

    Raises:
        DatabaseError: it cannot be reached, or its schema is not the one this code needs.
    """
    return Catalog(_checked(url))


def connect_rows(url: str | None = None) -> RowCatalog:
    """As `connect`, for those who want rows instead of DataFrames."""
    return RowCatalog(_checked(url))


def _checked(url: str | None) -> Engine:
    engine = writer_engine(url)
    try:
        check_schema(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine
