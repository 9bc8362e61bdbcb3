"""Other names of models: those under which an ingest met a model that the catalog had already."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, Engine, text

from catalog.lineage import begin_anew, place_of

if TYPE_CHECKING:
    from catalog.rows import ModelKey


class KnownModel(NamedTuple):
    """A model as the catalog has it."""

    id: int
    identity: str
    """sha256 over weights and behaviour."""
    name: str
    revision: str
    shown: str
    """As readers know it."""


_MODEL = """SELECT m.id, m.identity, m.name, m.revision, n.model AS shown
            FROM models m JOIN history.model_names n ON n.model_id = m.id"""


def shown(name: str, revision: str) -> str:
    """A model's name as it can be asked for: with the revision, if it has one."""
    return f"{name}@{revision}" if revision else name


def _parted(shown: str) -> tuple[str, str]:
    """Name and revision of what was shown."""
    name, at, revision = shown.rpartition("@")
    return (name, revision) if at else (shown, "")


def models_of_run(engine: Engine, run_id: int) -> list[KnownModel]:
    """The models of a run, in its order."""
    statement = f"{_MODEL} JOIN run_models r ON r.model_id = m.id WHERE r.run_id = :run_id ORDER BY r.ordinal, m.id"
    with engine.connect() as connection:
        return [KnownModel(*row) for row in connection.execute(text(statement), {"run_id": run_id})]


def model_named(engine: Engine, asked: "ModelKey") -> KnownModel | None:
    """The model that has this other name, if it is the very model that is asked for."""
    statement = f"""{_MODEL} JOIN model_aliases a ON a.model_id = m.id JOIN tokenizers t ON t.id = m.tokenizer_id
                    WHERE a.name = :name AND m.identity = :identity AND t.sha256 = :tokenizer"""
    values = {"name": shown(asked.name, asked.revision), "identity": asked.identity, "tokenizer": asked.tokenizer_sha256}
    with engine.connect() as connection:
        row = connection.execute(text(statement), values).first()
    return None if row is None else KnownModel(*row)


def resolve(connection: Connection, name: str) -> str | None:
    """The model, as readers know it, that has this other name; None if there is none."""
    statement = """SELECT n.model FROM model_aliases a JOIN history.model_names n ON n.model_id = a.model_id
                   WHERE a.name = :name"""
    return connection.execute(text(statement), {"name": name}).scalar()


def record(engine: Engine, names: Mapping[str, KnownModel]) -> list[str]:
    """Keep other names of models, but for those that stand for another model.

    Returns:
        a sentence for each name that is not kept.
    """
    if not names:
        return []
    with engine.begin() as connection:
        return [said for name, model in names.items() if (said := _record(connection, name, model)) is not None]


def _record(connection: Connection, name: str, model: KnownModel) -> str | None:
    of_that_name = connection.execute(
        text("SELECT m.id FROM history.model_names n JOIN models m ON m.id = n.model_id WHERE :name IN (n.model, m.name)"),
        {"name": name},
    ).scalars()
    if others := set(of_that_name):
        said = f"{model.shown} cannot be asked for as {name}, which is the name of another model"
        return None if others == {model.id} else said
    place = place_of(*_parted(name))
    values = {"name": name, "model_id": model.id, **(place._asdict() if place else {"training": None, "step": None})}
    statement = """INSERT INTO model_aliases (name, model_id, training, step) VALUES (:name, :model_id, :training, :step)
                   ON CONFLICT (name) DO NOTHING"""
    if connection.execute(text(statement), values).rowcount and place:
        begin_anew(connection)
    kept = resolve(connection, name)
    return None if kept == model.shown else f"{model.shown} cannot be asked for as {name}, which is another name of {kept}"
