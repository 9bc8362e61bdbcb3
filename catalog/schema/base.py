"""The metadata that every table hangs on, and the vocabulary of its columns."""

from typing import Any, Literal

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import base as postgresql
from sqlalchemy.types import TypeEngine, UserDefinedType

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

ROW_OF_A_NEURON = "show, and the views that have a row per neuron: a run's row of one neuron"
"""What the key of such a table serves."""


class Halfvec(UserDefinedType[Any]):
    """A vector of 16-bit floats, of pgvector; its own Python package loads numpy, which questions do without."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """As the server calls it."""
        return "HALFVEC"


postgresql.ischema_names["halfvec"] = Halfvec


def table(
    name: str,
    *columns: Any,
    comment: str,
    serves: str = ROW_OF_A_NEURON,
    by_run: bool = False,
    stored: str = "",
    used: str = "t.run_id = :run_id",
    hashed: Literal["", "once", "always"] = "",
    by_rules: bool = False,
) -> Table:
    """A table that says what a row is.

    Args:
        serves: which question its primary key answers.
        by_run: it has a partition for each run; what is staged becomes it.
        stored: storage parameters of a partition.
        used: SQL that says which rows `t` the run :run_id uses.
        hashed: of a table that is no part's, when its checksum is written: at the first publication of a run, for what was read
            never changes, or at every one.
        by_rules: its rows change with the rules of labels.
    """
    options: dict[str, Any] = {"postgresql_partition_by": "LIST (run_id)"} if by_run else {}
    info = {"serves": serves, "stored": stored, "used": used, "by_run": by_run, "hashed": hashed, "by_rules": by_rules}
    return Table(name, metadata, *columns, comment=comment, info=info, **options)


def unique(*columns: str, serves: str) -> UniqueConstraint:
    """A key beside the primary one, and the question that it answers."""
    return UniqueConstraint(*columns, info={"serves": serves})


def column(
    name: str,
    kind: type[TypeEngine[Any]] | TypeEngine[Any],
    comment: str,
    *constraints: Any,
    null: bool = False,
    key: bool = False,
    in_views: str = "",
    **more: Any,
) -> Column[Any]:
    """A column that says what it means; NOT NULL unless `null`.

    Args:
        in_views: what views say of it that pass it on, where its comment leans on that of the column before it.
    """
    info = {"in_views": in_views or comment, **more.pop("info", {})}
    return Column(name, kind, *constraints, primary_key=key, nullable=null, comment=comment, info=info, **more)


def number(name: str, comment: str, *constraints: Any, ranked: bool = False, in_views: str = "") -> Column[Any]:
    """A measured number; NULL where undefined.

    Args:
        ranked: a neuron's page shows it with its percentile within the layer (SPEC 3.7).
    """
    return column(name, Double, comment, *constraints, null=True, in_views=in_views, info={"ranked": ranked})


OVER_BLOCKS = "by the jackknife over blocks of documents; NULL with fewer than 10 blocks"
"""How errors of what is measured of activations are known."""


def error_of(name: str, more: str = "") -> Column[Any]:
    """The standard error of a number of the row over blocks of documents.

    Args:
        more: a sentence that is appended to the comment.
    """
    return number(f"{name}_se", f"Standard error of {name}, {OVER_BLOCKS}.{more and f' {more}'}")


def refers(target: str, cascade: bool = False) -> ForeignKey:
    """A foreign key; `cascade`: the row goes with what it refers to."""
    return ForeignKey(target, ondelete="CASCADE" if cascade else None)


def index(name: str, serves: str, *columns: Any, **more: Any) -> Index:
    """An index that says which question it answers; the database keeps the words as its comment."""
    return Index(name, *columns, info={"comment": f"Serves {serves}."}, **more)


def check(name: str, rule: str) -> CheckConstraint:
    """A limit of the domain."""
    return CheckConstraint(rule, name=name)


def of_run() -> Column[Any]:
    """The run of a measured row, as a part of its key."""
    return column("run_id", Integer, "The run that measured it.", refers("runs.id", cascade=True), key=True)


def of_neuron() -> tuple[Column[Any], Column[Any]]:
    """The key of a measured row of a neuron."""
    return of_run(), column("neuron_id", Integer, "The neuron.", refers("neurons.id", cascade=True), key=True)


def of_model() -> tuple[Column[Any], Column[Any]]:
    """The key of a measured row of a model."""
    return of_run(), column("model_id", Integer, "The model.", refers("models.id", cascade=True), key=True)


def of_head() -> tuple[Column[Any], Column[Any]]:
    """Which head of the model, as a part of a key."""
    return (
        column("head_layer", SmallInteger, "The head's layer.", key=True, autoincrement=False),
        column("head", SmallInteger, "The head within its layer.", key=True, autoincrement=False),
    )


def of_rows() -> Column[Any]:
    """How much of the corpus was read, as a part of a key."""
    return column("n_rows", Integer, "Rows of the corpus, the first ones.", key=True, autoincrement=False)


def place_of_neuron() -> tuple[Column[Any], Column[Any], Column[Any]]:
    """Where the neuron is, beside the numbers of tables that readers search; publication copies it from `neurons`."""
    return (
        column("model_id", Integer, "The neuron's model, from neurons.", refers("models.id", cascade=True)),
        column("layer", SmallInteger, "The neuron's layer, from neurons."),
        column("index", Integer, "The neuron's position in d_mlp, from neurons."),
    )
