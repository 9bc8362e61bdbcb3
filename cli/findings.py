"""`catalog findings`: a page of evidence for each neuron family, in Markdown."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.markdown import named, plain, table
from cli.options import FamilyOption, ModelOption, RunOption
from cli.output import Format, Record, show_object, tell_why, write

if TYPE_CHECKING:
    from catalog.questions.findings import Family, Findings, FindingsFilter

SHOWN_NGRAMS = 6
SHOWN_SUBTYPES = 12
STATES = {"yes": " (universal)", "no": "", "undecided": " (undecided)"}
NONE = "- none\n"
SCIENCE = (
    "Of each family: what it is, its rule, the best neurons by score over all models, what the rule looked at, and places in "
    "the text with the token in question in bold: the highest values, and one from the middle of the neuron's positive "
    "values, so that nobody is fooled by maxima. Values are activations after the non-linearity; ␣ is a space and ⏎ a new "
    "line. A neuron may have several labels{universal}. "
    "UN is Gurnee et al. 2024, VO Voita et al. 2023, SPEC the project's specification. Families "
    "that no neuron has are at the end.\n"
)
"""How the page is to be read."""
UNIVERSAL = (
    "; it is universal if its excess correlation with the other models is above that of "
    "the rules by 1.96 standard errors, and undecided where that of the rules lies within 1.96 of them"
)
ALONE = ". Nothing is said of universal neurons, for no other model was compared"


class PageFormat(StrEnum):
    """The shapes in which a page is written."""

    MARKDOWN = "markdown"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(findings)


def findings(
    family: FamilyOption = None,
    model: ModelOption = None,
    run: RunOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most neurons of each family, or closest to it.")] = 5,
    format: Annotated[PageFormat, typer.Option("--format", help="How the page is written.")] = PageFormat.MARKDOWN,
) -> None:
    """Each family of neurons, with the evidence, as Markdown.

    What it is, its rule, its best neurons and where they are active; or what comes closest, where no neuron has it."""
    from catalog import LabelFilter, connect_rows
    from catalog.questions.findings import FindingsFilter

    wanted = FindingsFilter(family, model, run, limit)
    with connect_rows() as store:
        answer = store.findings(wanted)
        if format is PageFormat.JSON:
            show_object(asdict(answer), Format.JSON)
        elif answer.runs:
            write(page(answer, wanted))
        labels = sum(len(one.best) for one in answer.families)
        asked = LabelFilter(family=family, model=model, run=run)
        tell_why(labels, lambda: store.why(import_module("catalog.questions.why_empty").labels, asked))


def page(answer: "Findings", wanted: "FindingsFilter") -> str:
    """The whole page, of a catalog that has a run."""
    if wanted.model is not None:
        wanted = replace(wanted, model=answer.runs[0]["models"][0])  # which may have been asked for by another of its names
    here = [family for family in answer.families if family.counts]
    absent = [family for family in answer.families if not family.counts]
    n_models = len({row["model"] for row in answer.layers})
    sections = [_head(answer, wanted), _in_short(answer, here, absent), _overview(answer, here)]
    sections += [_present(family, n_models if answer.compared else None, wanted) for family in here]
    if absent:
        sections.append("## Not found\n\nFamilies that have a rule and no neuron, with those that come closest.\n")
    sections += [_absent(family) for family in absent]
    return "\n".join(sections)


def _words(wanted: "FindingsFilter", family: str | None) -> str:
    """The options by which a command asks the same of a family."""
    filters = {"--family": family, "--model": wanted.model, "--run": wanted.run}
    return "".join(f" {option} {shlex.quote(str(value))}" for option, value in filters.items() if value is not None)


def _head(answer: "Findings", wanted: "FindingsFilter") -> str:
    runs = answer.runs
    told = "; ".join(
        f"run {run['run']} of {', '.join(map(_place, run['models']))}{_corpus(run)}, parts {', '.join(run['parts'])}"
        for run in runs
    )
    command = plain(f"catalog findings{_words(wanted, wanted.family)}", spaces=False)
    science = SCIENCE.format(universal=UNIVERSAL if answer.compared else ALONE)
    models = sorted({model for run in runs for model in run["models"]})
    whose = "the models hold" if len(models) > 1 else f"{_place(models[0])} holds"
    stored = sorted({_place(said) for run in runs for said in run["quantised"] or []})
    of_values = f" Weights are stored in blocks ({'; '.join(stored)} tensors): all is told of the values that those stand for."
    return (
        f"# What {whose}\n\nWritten by {command} on {datetime.now(UTC):%Y-%m-%d} from {told}."
        f"{of_values if stored else ''}\n\n{science}"
    )


def _corpus(run: Record) -> str:
    if run["corpus"] is None:
        return ""
    tokens, first = run["n_tokens"], []
    if run["control_tokens"] is not None and run["control_tokens"] < tokens:
        first.append(f"its control read the first {run['control_tokens']:,}")
    if run["intervention_tokens"] is not None and run["intervention_tokens"] < tokens:
        first.append(f"neurons were held and taken away on the first {run['intervention_tokens']:,}")
    told = "; ".join([f"{run['n_kept']:,} of them kept", *first])
    return f" on {tokens:,} tokens of {_place(run['corpus'])} ({told})"


def _in_short(answer: "Findings", here: Sequence["Family"], absent: Sequence["Family"]) -> str:
    """A sentence or two on each family: how many neurons, where most of them are, what it is; then those that are not there."""
    n_neurons = sum(row["n_neurons"] for row in answer.layers)
    said = [(family.family, f"{_mostly(family, n_neurons)}. {family.about} {_sentence(family.chance)}") for family in here]
    for family in absent:
        none = "not looked for" if family.not_looked_for or not family.looked_for else "none"
        said.append((family.family, f"{none}. {family.about}"))
    lines = [f"- `{name}`: {' '.join(words.split())}\n" for name, words in said]
    return f"## In short\n\nOf {n_neurons:,} neurons:\n\n{''.join(lines)}"


def _mostly(family: "Family", n_neurons: int) -> str:
    neurons = sum(row["neurons"] for row in family.counts)
    by_layer: dict[tuple[str, int], int] = {}
    for row in family.counts:
        place = row["model"], row["layer"]
        by_layer[place] = by_layer.get(place, 0) + row["neurons"]
    (model, layer), most = max(by_layer.items(), key=lambda item: item[1])
    of_one = len({row["model"] for row in family.counts}) == 1
    where = f"layer {layer}" if of_one else f"layer {layer} of {_place(model)}"
    return f"{neurons:,} ({100 * neurons / n_neurons:.2g} %), most in {where} ({most:,})"


def _overview(answer: "Findings", here: Sequence["Family"]) -> str:
    """Neurons of each family per model and layer; universal and undecided ones in brackets, where there can be any."""
    counted = _three if answer.compared else _one
    totals: dict[tuple[str, int, str], list[int]] = {}
    for family in here:
        for row in family.counts:
            total = totals.setdefault((row["model"], row["layer"], family.family), [0, 0, 0])
            total[0] += row["neurons"]
            total[1] += row["universal_neurons"]
            total[2] += row["undecided_neurons"]
    shown = [
        {
            "model": _place(row["model"]),
            "layer": row["layer"],
            "all neurons": counted(row["n_neurons"], row["n_universal"], row["n_undecided"]),
            **{
                family.family: counted(*totals.get((row["model"], row["layer"], family.family), (0, 0, 0)))
                for family in here
            },
        }
        for row in answer.layers
    ]
    brackets = "Neurons; in brackets those that are universal + those that are undecided." if answer.compared else "Neurons."
    return f"## How many\n\n{brackets}\n\n{table(shown)}\n"


def _three(neurons: int, universal: int, undecided: int) -> str:
    return f"{neurons:,} ({universal:,} + {undecided:,})"


def _one(neurons: int, *_: int | None) -> str:
    return f"{neurons:,}"


def _rule(family: "Family") -> str:
    """What a family is, the part of a run that its rule reads, and its thresholds."""
    what = family.about or "What it is is said by its rule alone."
    parts = " or ".join(f"`{part}`" for part in family.parts) or "unknown to this page"
    said = [
        f"- `{rule['parameter']}` = {rule['value']:,.10g}: {plain(rule['description'], spaces=False)}\n"
        for rule in family.thresholds
    ]
    return f"{what} Part of the run that the rule reads: {parts}. Thresholds:\n\n{''.join(said) or NONE}"


def _counted(counts: Sequence[Record], n_models: int | None) -> str:
    """How many neurons a family has, and of which subtypes.

    Args:
        n_models: that were compared; None where none was.
    """
    columns = ("neurons", "universal_neurons", "undecided_neurons")
    neurons, universal, undecided = (sum(row[column] for row in counts) for column in columns)
    subtypes: dict[str, int] = {}
    for row in counts:
        subtypes[row["subtype"]] = subtypes.get(row["subtype"], 0) + row["labels"]
    most = sorted(subtypes.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{named(subtype)} {n:,}" for subtype, n in most[:SHOWN_SUBTYPES])
    more = f" and {len(most) - SHOWN_SUBTYPES:,} more" if len(most) > SHOWN_SUBTYPES else ""
    found_in = len({row["model"] for row in counts})
    compared = f", {universal:,} of them universal and {undecided:,} undecided, in {found_in} of {n_models} models"
    return f"Neurons: {neurons:,}{compared if n_models is not None else ''}. Subtypes: {listed}{more}."


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _present(family: "Family", n_models: int | None, wanted: "FindingsFilter") -> str:
    name = family.family
    order = "score" if family.lowest_is_best else "score DESC"
    view = "neuron_labels" if wanted.run is None else "history.neuron_labels"
    asked = {"family": name, "model": wanted.model, "run_id": wanted.run}
    conditions = " AND ".join(f"{column} = {_literal(value)}" for column, value in asked.items() if value is not None)
    elsewhere = f"**Not looked for everywhere**: {family.not_looked_for}.\n\n" if family.not_looked_for else ""
    return (
        f"## {name}\n\n{_rule(family)}\n{_counted(family.counts, n_models)} {_sentence(family.chance)}\n\n{elsewhere}"
        f"```sh\ncatalog find{_words(wanted, name)} --limit {wanted.limit}\n```\n\n"
        f"```sql\nSELECT model, layer, neuron, subtype, score, evidence FROM {view} WHERE {conditions}\n"
        f"ORDER BY {order}, model, layer, neuron LIMIT {wanted.limit};\n```\n\n"
        f"{table([_row(label, n_models is not None) for label in family.best])}\n" + "".join(map(_places, family.best))
    )


def _literal(value: str | int) -> str:
    """A value in SQL."""
    return str(value) if isinstance(value, int) else "'{}'".format(value.replace("'", "''"))


def _row(label: Record, compared: bool) -> dict[str, Any]:
    excess, ngrams = label["excess_corr"], label["detected"]
    error = "" if label["excess_se"] is None else f" ± {label['excess_se']:.3f}"
    looked_at = plain(label["in_words"], spaces=False)
    if ngrams:
        more = f" and {len(ngrams) - SHOWN_NGRAMS:,} more" if len(ngrams) > SHOWN_NGRAMS else ""
        looked_at += f": {'  '.join(map(plain, ngrams[:SHOWN_NGRAMS]))}{more}"
    return {
        "neuron": _neuron(label),
        "subtype": named(label["subtype"]),
        "score": label["score"],
        **({"excess": "–" if excess is None else f"{excess:.3f}{error}{STATES[label['universal']]}"} if compared else {}),
        "top tokens": "  ".join(map(plain, label["top_tokens"])),
        "what the rule looked at": looked_at,
    }


def _place(name: str) -> str:
    return plain(name, spaces=False)


def _neuron(label: Record) -> str:
    return _place(f"{label['model']} {label['layer']}.{label['neuron']}")


def _places(label: Record) -> str:
    lines = [f"- {_excerpt(example)}\n" for example in label["examples"]] or [NONE]
    return f"{_neuron(label)}, {named(label['subtype'])}:\n\n{''.join(lines)}\n"


def _excerpt(example: Record) -> str:
    # Markdown sees marks of emphasis only where white space is outside of them
    before, after = (plain(example[name], spaces=False).strip() for name in ("before", "after"))
    subset = "" if example["subset"] is None else f", {_place(example['subset'])}"
    kind = "highest" if example["kind"] == "top" else "quantile {}–{} %".format(*example["kind"].split("_")[1:])
    return f"{kind}, {example['value']:.3g}{subset}: …{before} **{plain(example['token'])}** {after}…"


def _absent(family: "Family") -> str:
    """Whether a family was looked for, and what came closest."""
    shown = [{key: _cell(value) for key, value in row.items()} for row in family.closest]
    said = []
    if not family.looked_for or family.not_looked_for:
        said.append(f"**Not looked for**: {family.not_looked_for or 'no rule makes such labels'}.")
    if family.looked_for and family.nothing_to_measure:
        said.append(f"**Looked for, and nothing to measure**: {family.nothing_to_measure}.")
    elif family.looked_for:
        said.append("**Looked for, and no neuron passes.**")
    came = f" The closest:\n\n{table(shown)}" if shown else "\n"
    return f"### {family.family}\n\n{_rule(family)}\n{' '.join(said)}{came}"


def _cell(value: Any) -> Any:
    return "–" if value is None else named(value) if isinstance(value, str) else value
