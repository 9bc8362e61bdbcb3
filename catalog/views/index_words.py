"""What every index serves, in words: those of keys stand with their table, others where they are declared."""

from collections.abc import Iterable

from sqlalchemy import Table

from catalog import parts
from catalog.schema.base import metadata


def comments() -> dict[str, str]:
    """The comment of every index of every table, by name."""
    parts.tables()  # which fills the metadata
    return dict(sorted(_comments(metadata.sorted_tables).items()))


def statements(tables: Iterable[Table] | None = None) -> list[str]:
    """COMMENT ON INDEX of every index, or of those of some tables."""
    said = comments() if tables is None else _comments(tables)
    return [f"COMMENT ON INDEX {name} IS '{words.replace(chr(39), 2 * chr(39))}'" for name, words in said.items()]


def _comments(tables: Iterable[Table]) -> dict[str, str]:
    said: dict[str, str] = {}
    for table in tables:
        said |= {str(index.name): index.info["comment"] for index in table.indexes}
        asked = table.info.get("serves", f"what is asked of {table.name} by its key")
        said[str(table.primary_key.name)] = f"Serves {asked}."
        uniques = (key for key in table.constraints if str(key.name).startswith("uq_"))
        said |= {str(key.name): f"Serves {key.info.get('serves', asked)}." for key in uniques}
    return said
