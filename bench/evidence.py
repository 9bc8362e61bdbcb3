"""Evidence for a person: tokens, places in the text and n-grams, safe in Markdown; see `catalog.evidence` for the rest."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from catalog.text import visible

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$])")
MIDDLE = ("quantile_50_75", "quantile_25_50", "quantile_75_90")
"""Of the first of these kinds that a neuron has, one example stands beside the highest ones."""
KINDS = {"top": "highest", **{kind: "quantile {}–{} %".format(*kind.split("_")[1:]) for kind in MIDDLE}}
HIGHEST = 2

_TOKENS = """SELECT t.text FROM top_tokens v JOIN neurons n ON n.id = v.neuron_id JOIN models m ON m.id = n.model_id
             JOIN tokens t ON t.tokenizer_id = m.tokenizer_id AND t.token_id = v.token_id
             WHERE v.run_id = :run_id AND v.neuron_id = :neuron_id ORDER BY v.rank LIMIT :shown"""

_EXAMPLES = """SELECT kind, rank, value, subset, before, token, after FROM history.neuron_examples
               WHERE run_id = :run_id AND neuron_id = :neuron_id
                 AND (kind = 'top' AND rank <= :highest OR kind = ANY(:middle) AND rank = 1) ORDER BY rank"""

_DETECTED = "SELECT tokens FROM token_detectors WHERE run_id = :run_id AND neuron_id = :neuron_id AND n = :n"

Evidence = Mapping[str, Any]


def plain(text: str, spaces: bool = True) -> str:
    """Text on one line that Markdown shows as it is: white space and control characters visible, marks escaped."""
    return _SPECIAL.sub(r"\\\1", visible(text, spaces))


def named(name: str) -> str:
    """A name of a family, feature or pattern; as code unless it may hold anything."""
    return f"`{name}`" if re.fullmatch(r"[a-z0-9_]{2,}", name) else plain(name)


def top_tokens(connection: Connection, keys: Evidence, shown: int) -> str:
    """The tokens with the highest mean activation."""
    return "  ".join(plain(token) for token in connection.execute(text(_TOKENS), {**keys, "shown": shown}).scalars())


def excerpts(connection: Connection, keys: Evidence) -> list[str]:
    """Places in the text, one line each: the highest values, and one of the middle.

    Args:
        keys: run_id and neuron_id.
    """
    found = [
        dict(row._mapping) for row in connection.execute(text(_EXAMPLES), {**keys, "highest": HIGHEST, "middle": list(MIDDLE)})
    ]
    middle = next((kind for kind in MIDDLE if any(row["kind"] == kind for row in found)), None)
    return [_excerpt(row) for kind in ("top", middle) for row in found if row["kind"] == kind]


def _excerpt(row: Mapping[str, Any]) -> str:
    # Markdown sees marks of emphasis only where white space is outside of them
    before, after = (plain(row[name], spaces=False).strip() for name in ("before", "after"))
    subset = "" if row["subset"] is None else f", {plain(row['subset'], spaces=False)}"
    return f"{KINDS[row['kind']]}, {row['value']:.3g}{subset}: …{before} **{plain(row['token'])}** {after}…"


def detected(connection: Connection, keys: Evidence, n: int, shown: int) -> str:
    """The n-grams that a detector detects, the most frequent first."""
    found = connection.execute(text(_DETECTED), {**keys, "n": n}).scalar_one()
    more = f" and {len(found) - shown:,} more" if len(found) > shown else ""
    return "  ".join(plain(ngram) for ngram in found[:shown]) + more
