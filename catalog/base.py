"""The metadata that every table hangs on, and the vocabulary of its columns."""

from typing import Any

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, MetaData
from sqlalchemy.types import TypeEngine

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING_CONVENTION)

EXTENSION = "extension"
"""A table with this in its `info` is in no migration; an upgrade makes it where it is missing, and nothing alters it."""


def column(
    name: str,
    kind: type[TypeEngine[Any]] | TypeEngine[Any],
    comment: str,
    *constraints: Any,
    null: bool = False,
    key: bool = False,
    **more: Any,
) -> Column[Any]:
    """A column that says what it means; NOT NULL unless `null`."""
    return Column(name, kind, *constraints, primary_key=key, nullable=null, comment=comment, **more)


def refers(target: str, cascade: bool = False) -> ForeignKey:
    """A foreign key; `cascade`: the row goes with what it refers to."""
    return ForeignKey(target, ondelete="CASCADE" if cascade else None)


def index(name: str, serves: str, *columns: Any, **more: Any) -> Index:
    """An index that says which question it answers; the database keeps the words as its comment."""
    return Index(name, *columns, info={"comment": f"Serves {serves}."}, **more)


def check(name: str, rule: str) -> CheckConstraint:
    """A limit of the domain."""
    return CheckConstraint(rule, name=name)
