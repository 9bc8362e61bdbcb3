"""What every index serves, in words: those of keys stand with their table, others where they are declared."""

from catalog import parts
from catalog.base import metadata


def comments() -> dict[str, str]:
    """The comment of every index of every table, by name."""
    parts.tables()  # which fills the metadata
    said: dict[str, str] = {}
    for table in metadata.sorted_tables:
        said |= {str(index.name): index.info["comment"] for index in table.indexes}
        said[str(table.primary_key.name)] = f"Serves {table.info['serves']}."
        uniques = (key for key in table.constraints if str(key.name).startswith("uq_"))
        said |= {str(key.name): f"Serves {key.info['serves']}." for key in uniques}
    return dict(sorted(said.items()))


def statements() -> list[str]:
    """COMMENT ON INDEX of every index."""
    return [f"COMMENT ON INDEX {name} IS '{words.replace(chr(39), 2 * chr(39))}'" for name, words in comments().items()]
