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
from bench.entropy_curves import Curves, draw, measure, section
from bench.evidence import detected, excerpts, named, plain, top_tokens
from bench.families import ABOUT, closest, parts_of, rules_of
from bench.report import table
from catalog.errors import NotFoundError
from catalog.evidence import in_words
from catalog.known import model_names, require_models
from catalog.queries import LOWEST_IS_BEST
from cli.progress import watch

PAGE = Path(__file__).parents[1] / "docs" / "pocket-findings.md"
PICTURE = PAGE.parent / "pocket-entropy.svg"
BEST = 5
CLOSEST = 3
SHOWN_TOKENS = 6
SHOWN_SUBTYPES = 12
NONE = "- none\n"

_LAYERS = "SELECT model, layer, n_neurons, n_universal FROM layer_profiles ORDER BY 1, 2"

_COUNTS = """SELECT m.model, t.layer, t.family, t.subtype, t.labels, t.neurons, t.universal_neurons
             FROM members m JOIN label_totals t ON t.run_id = m.run_id AND t.model_id = m.model_id ORDER BY 1, 2, 3, 4"""

_BEST = """SELECT l.run_id, l.neuron_id, l.model, l.layer, l.neuron, l.subtype, l.score, l.evidence, p.excess_corr, p.universal,
                  p.post_mean
           FROM neuron_labels l JOIN neuron_profiles p USING (run_id, neuron_id)
           WHERE l.family = :family ORDER BY {order}, l.model, l.layer, l.neuron LIMIT :best"""

_ABOUT = """SELECT r.id AS run, c.source, c.n_tokens, c.n_kept, array_agg(DISTINCT p.part ORDER BY p.part) AS parts
            FROM members m JOIN runs r ON r.id = m.run_id LEFT JOIN corpora c ON c.id = r.corpus_id
            JOIN run_parts p ON p.run_id = r.id GROUP BY 1, 2, 3, 4 ORDER BY 1"""

Rows = list[dict[str, Any]]


def page(connection: Connection, curves: Curves | None = None) -> str:
    """The whole page.

    Args:
        curves: of candidates for entropy neurons, if they are to be on it.

    Raises:
        NotFoundError: the catalog has no published run.
    """
    require_models(model_names(connection, None))
    runs, layers, counts = (_rows(connection, statement) for statement in (_ABOUT, _LAYERS, _COUNTS))
    counts = [row for row in counts if row["labels"]]
    rules = rules_of(connection)
    found = sorted({row["family"] for row in counts})
    absent = [family for family in sorted(rules) if family not in found]
    sections = [_head(runs), _overview(counts, layers, found, absent)]
    n_models = len({row["model"] for row in layers})
    sections += [_family(connection, name, rules.get(name, []), counts, n_models) for name in found]
    if absent:
        sections.append("## Not found\n\nFamilies that have a rule and no neuron, with those that come closest.\n")
    sections += [_absent(connection, name, rules[name], runs) for name in absent]
    if curves is not None:
        sections.append(section(curves, PICTURE.name))
    return "\n".join(sections)


def _rows(connection: Connection, statement: str, **values: Any) -> Rows:
    return [dict(row._mapping) for row in connection.execute(text(statement), values)]


def _head(runs: Rows) -> str:
    about = "; ".join(
        f"run {run['run']} on {run['n_tokens'] or 0:,} tokens ({run['n_kept'] or 0:,} of them kept), parts "
        f"{', '.join(run['parts'])}"
        for run in runs
    )
    return (
        "# What the pocket models hold\n\n"
        f"Written by `python -m bench.findings` on {datetime.now(UTC):%Y-%m-%d} from a catalog of the pocket family: {about}. "
        "What these models do not have is said at the end. Models of two layers and 365 tokens of vocabulary are no GPT-2: the "
        "page shows what the catalog can say of a family, not what language models hold.\n\n"
        "Of each family: what it is, its rule, the five best neurons by score over all models, what the rule looked at, and "
        "places in the text with the token in question in bold: the highest values, and one from the middle of the neuron's "
        "positive values, so that nobody is fooled by maxima. Values are activations after the non-linearity; ␣ is a space and "
        "⏎ a new line. A neuron may have several labels; it is universal if its excess correlation with the other models is "
        "above 0.5. UN is Gurnee et al. 2024, VO Voita et al. 2023, SPEC the project's specification.\n"
    )


def _overview(counts: Rows, layers: Rows, found: list[str], absent: list[str]) -> str:
    """Neurons of each family, universal ones in brackets, per model and layer."""
    totals: dict[tuple[str, int, str], list[int]] = {}
    for row in counts:
        total = totals.setdefault((row["model"], row["layer"], row["family"]), [0, 0])
        total[0] += row["neurons"]
        total[1] += row["universal_neurons"]
    shown = [
        {
            "model": _place(row["model"]),
            "layer": row["layer"],
            "all neurons": f"{row['n_neurons']:,} ({row['n_universal']:,})",
            **{name: "{:,} ({:,})".format(*totals.get((row["model"], row["layer"], name), (0, 0))) for name in found},
        }
        for row in layers
    ]
    names = ", ".join(f"`{name}`" for name in absent) or "none"
    return f"## How many\n\nNeurons, universal ones in brackets.\n\n{table(shown)}\nNot found in any model: {names}.\n"


def _rule(rules: Rows, family: str) -> str:
    """What a family is, the part of a run that its rule reads, and its thresholds."""
    what = ABOUT[family].what if family in ABOUT else "What it is is said by its rule alone."
    parts = " or ".join(f"`{part}`" for part in parts_of(family)) or "unknown to this page"
    said = [f"- `{rule['parameter']}` = {rule['value']:,.10g}: {plain(rule['description'], spaces=False)}\n" for rule in rules]
    return f"{what} Part of the run that the rule reads: {parts}. Thresholds:\n\n{''.join(said) or NONE}"


def _counted(own: Rows, n_models: int) -> str:
    """How many neurons a family has, and of which subtypes."""
    neurons, universal = (sum(row[column] for row in own) for column in ("neurons", "universal_neurons"))
    subtypes: dict[str, int] = {}
    for row in own:
        subtypes[row["subtype"]] = subtypes.get(row["subtype"], 0) + row["labels"]
    most = sorted(subtypes.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{named(subtype)} {n:,}" for subtype, n in most[:SHOWN_SUBTYPES])
    more = f" and {len(most) - SHOWN_SUBTYPES:,} more" if len(most) > SHOWN_SUBTYPES else ""
    found_in = len({row["model"] for row in own})
    return (
        f"Neurons: {neurons:,}, {universal:,} of them universal, in {found_in} of {n_models} models. Subtypes: {listed}{more}."
    )


def _family(connection: Connection, name: str, rules: Rows, counts: Rows, n_models: int) -> str:
    order = "score" if name in LOWEST_IS_BEST else "score DESC"
    best = _rows(connection, _BEST.format(order=f"l.{order}"), family=name, best=BEST)
    return (
        f"## {name}\n\n{_rule(rules, name)}\n"
        f"{_counted([row for row in counts if row['family'] == name], n_models)}\n\n"
        f"```sh\ncatalog find --family {name} --limit {BEST}\n```\n\n"
        f"```sql\nSELECT model, layer, neuron, subtype, score, evidence FROM neuron_labels WHERE family = '{name}'\n"
        f"ORDER BY {order}, model, layer, neuron LIMIT {BEST};\n```\n\n"
        f"{table([_row(connection, row) for row in best])}\n" + "".join(_places(connection, row) for row in best)
    )


def _keys(found: dict[str, Any]) -> dict[str, Any]:
    return {"run_id": found["run_id"], "neuron_id": found["neuron_id"]}


def _row(connection: Connection, found: dict[str, Any]) -> dict[str, Any]:
    excess, evidence = found["excess_corr"], {**found["evidence"], "overall_mean": found["post_mean"]}
    looked_at = plain(in_words(found["family"], evidence), spaces=False)
    if "detected" in evidence:
        looked_at += f": {detected(connection, _keys(found), evidence['n'], SHOWN_TOKENS)}"
    return {
        "neuron": _place(f"{found['model']} {found['layer']}.{found['neuron']}"),
        "subtype": named(found["subtype"]),
        "score": found["score"],
        "excess": "–" if excess is None else f"{excess:.3f}{' (universal)' if found['universal'] else ''}",
        "top tokens": top_tokens(connection, _keys(found), SHOWN_TOKENS),
        "what the rule looked at": looked_at,
    }


def _place(name: str) -> str:
    return plain(name, spaces=False)


def _places(connection: Connection, found: dict[str, Any]) -> str:
    lines = [f"- {line}\n" for line in excerpts(connection, _keys(found))] or [NONE]
    neuron = _place(f"{found['model']} {found['layer']}.{found['neuron']}")
    return f"{neuron}, {named(found['subtype'])}:\n\n{''.join(lines)}\n"


def _absent(connection: Connection, name: str, rules: Rows, runs: Rows) -> str:
    """Whether a family was looked for, and what came closest."""
    parts = parts_of(name)
    lacking = [str(run["run"]) for run in runs if parts and not {*parts} & {*run["parts"]}]
    shown = [{key: _cell(value) for key, value in row.items()} for row in closest(connection, name, CLOSEST)]
    if lacking:
        said = (
            f"**Not looked for** in run {', '.join(lacking)}, which has no part {' or '.join(f'`{part}`' for part in parts)}."
        )
    elif shown or not (name in ABOUT and ABOUT[name].unless):
        said = "**Looked for, and no neuron passes.**"
    else:
        said = f"**Looked for, and nothing to measure**: {ABOUT[name].unless}."
    came = f" The closest:\n\n{table(shown)}" if shown else "\n"
    return f"### {name}\n\n{_rule(rules, name)}\n{said}{came}"


def _cell(value: Any) -> Any:
    return "–" if value is None else named(value) if isinstance(value, str) else value


def main() -> None:
    """Read the catalog and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=PAGE)
    arguments = parser.parse_args()
    with catalog.connect() as store, store.engine.connect() as connection, watch() as progress:
        try:
            require_models(model_names(connection, None))
            curves = measure(connection, progress)
            draw(curves, arguments.docs.parent / PICTURE.name)
            arguments.docs.write_text(page(connection, curves), encoding="utf-8")
        except NotFoundError as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
