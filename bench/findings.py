"""What the pocket family holds of every neuron family, with the evidence: writes docs/pocket-findings.md.

make pocket                                   # the catalog that is read; or any other, by CATALOG_DATABASE_URL
python -m bench.findings [--docs docs/pocket-findings.md]
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

import catalog
from bench.report import table

PAGE = Path(__file__).parents[1] / "docs" / "pocket-findings.md"
BEST = 5
SHOWN_TOKENS = 6

_FAMILIES = "SELECT DISTINCT family FROM rules WHERE rule_version = (SELECT max(rule_version) FROM rules) ORDER BY 1"

_COUNTS = """SELECT model, family, sum(neurons)::bigint AS neurons, sum(universal_neurons)::bigint AS universal
             FROM family_counts GROUP BY 1, 2 ORDER BY 2, 1"""

_BEST = """SELECT l.run_id, l.neuron_id, l.model, l.layer, l.neuron, l.subtype, l.score, l.evidence, p.excess_corr, p.universal
           FROM neuron_labels l JOIN neuron_profiles p USING (run_id, neuron_id)
           WHERE l.family = :family ORDER BY l.score DESC, l.model, l.layer, l.neuron LIMIT :best"""

_TOKENS = """SELECT t.text FROM top_tokens v JOIN neurons n ON n.id = v.neuron_id JOIN models m ON m.id = n.model_id
             JOIN tokens t ON t.tokenizer_id = m.tokenizer_id AND t.token_id = v.token_id
             WHERE v.run_id = :run_id AND v.neuron_id = :neuron_id ORDER BY v.rank LIMIT :shown"""

_ABOUT = """SELECT c.source, c.n_tokens, c.n_kept, r.id, r.published_at, array_agg(DISTINCT p.part ORDER BY p.part) AS parts
            FROM members m JOIN runs r ON r.id = m.run_id JOIN corpora c ON c.id = r.corpus_id
            JOIN run_parts p ON p.run_id = r.id GROUP BY 1, 2, 3, 4, 5 ORDER BY r.id"""


def page(connection: Connection) -> str:
    """The whole page."""
    families = list(connection.execute(text(_FAMILIES)).scalars())
    counts = [dict(row._mapping) for row in connection.execute(text(_COUNTS))]
    counts = [row for row in counts if row["neurons"]]
    found = {row["family"] for row in counts}
    absent = [family for family in families if family not in found]
    sections = [_head(connection), "## How many\n", table(counts)]
    if absent:
        names = ", ".join(f"`{name}`" for name in absent)
        sections.append(f"Looked for and not found in any of the five models: {names}.\n")
    for family in families:
        if family in found:
            best = connection.execute(text(_BEST), {"family": family, "best": BEST})
            rows = [_row(connection, dict(row._mapping)) for row in best]
            sections += [f"## {family}\n", f"`catalog find --family {family} --limit {BEST}`\n", table(rows)]
    return "\n".join(sections)


def _head(connection: Connection) -> str:
    runs = [row._mapping for row in connection.execute(text(_ABOUT))]
    about = "; ".join(
        f"run {run['id']} on {run['n_tokens']:,} tokens ({run['n_kept']:,} of them kept), parts {', '.join(run['parts'])}"
        for run in runs
    )
    return (
        "# What the pocket models hold\n\n"
        f"Written by `python -m bench.findings` on {datetime.now(UTC):%Y-%m-%d} from a catalog of the pocket family: {about}. "
        "The five best neurons of each family by score, over all models, with what the rule looked at. What these models do "
        "not have is said; models of two layers and 365 tokens of vocabulary are no GPT-2, and the page shows what the "
        "catalog can say of a family, not what language models hold.\n"
    )


def _row(connection: Connection, found: dict[str, Any]) -> dict[str, Any]:
    keys = {"run_id": found["run_id"], "neuron_id": found["neuron_id"], "shown": SHOWN_TOKENS}
    excess = found["excess_corr"]
    tokens = [_code(token) for token in connection.execute(text(_TOKENS), keys).scalars()]
    return {
        "neuron": f"{found['model']} {found['layer']}.{found['neuron']}",
        "subtype": _code(found["subtype"]),
        "score": found["score"],
        "excess": "–" if excess is None else f"{excess:.3f}{' (universal)' if found['universal'] else ''}",
        "top tokens": " ".join(tokens),
        "evidence": ", ".join(f"{name} {_value(value)}" for name, value in found["evidence"].items() if value is not None),
    }


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return _code(value) if isinstance(value, str) else str(value).replace("|", "¦")


def _code(value: str) -> str:
    shown = value.replace("|", "¦").replace("`", "ˋ").replace("\n", "\\n")
    return f"`{shown}`"


def main() -> None:
    """Read the catalog and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=PAGE)
    arguments = parser.parse_args()
    with catalog.connect() as store, store.engine.connect() as connection:
        arguments.docs.write_text(page(connection), encoding="utf-8")


if __name__ == "__main__":
    main()
