"""Questions about neurons: find, universal, families, matches, similar, groups, layers, depth."""

from dataclasses import replace
from importlib import import_module
from types import ModuleType
from typing import Annotated

import typer

from cli.options import (
    FamilyOption,
    FormatOption,
    LayerOption,
    LimitOption,
    MinExcessOption,
    ModelArgument,
    ModelOption,
    NeuronWords,
    OffsetOption,
    RunOption,
    finite,
    parse_layers,
    parse_model_neuron,
)
from cli.output import Format, show_count, show_rows, talk, tell, tell_why


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (find, universal, families, matches, similar, groups, layers, depth):
        app.command()(command)


def why_empty() -> ModuleType:
    """The reasons of empty answers, which load only where an answer is empty."""
    return import_module("catalog.questions.why_empty")


def find(
    family: FamilyOption = None,
    subtype: Annotated[str | None, typer.Option("--subtype", help="Subtype within the family, such as s.")] = None,
    model: ModelOption = None,
    layer: LayerOption = None,
    min_excess: MinExcessOption = None,
    min_score: Annotated[float | None, typer.Option("--min-score", callback=finite, help="Least score of the label.")] = None,
    min_restored: Annotated[
        float | None,
        typer.Option("--min-restored", callback=finite, help="Least share of its work that its matches in other models do."),
    ] = None,
    universal: Annotated[
        str | None, typer.Option("--universal", help="Only neurons that are universal: yes, no or undecided.")
    ] = None,
    run: RunOption = None,
    sort: Annotated[str, typer.Option("--sort", help="Order: score, excess or neuron.")] = "score",
    limit: LimitOption = 50,
    offset: OffsetOption = 0,
    format: FormatOption = Format.TABLE,
) -> None:
    """Labelled neurons, one row per label, the best score first.

    Families follow one another, since their scores have different units."""
    from catalog import LabelFilter, connect_rows

    wanted = LabelFilter(
        family=family,
        subtype=subtype,
        model=model,
        layers=parse_layers(layer),
        min_excess=min_excess,
        min_score=min_score,
        min_restored=min_restored,
        universal=universal,
        run=run,
        sort=sort,
        limit=limit,
        offset=offset,
    )
    with connect_rows() as store:
        answer = store.find_labels(wanted)
        show_rows(answer, format)
        if len(answer):
            total = store.count_labels(wanted)
            whole = (subtype, layer, min_excess, min_score, min_restored, universal) == (None,) * 6
            chance = f", {store.chance_of(family, model=model, run=run)}" if family is not None and whole else ""
            show_count(len(answer), total, f"labels{chance}")
        if universal == "yes":
            undecided = store.count_labels(replace(wanted, universal="undecided"))
            _tell_more(undecided, "of undecided neurons", "--universal undecided prints them")
        tell_why(len(answer), lambda: store.why(why_empty().labels, wanted))


def universal(
    model: ModelOption = None,
    layer: LayerOption = None,
    min_excess: MinExcessOption = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Which: yes, no, or undecided, within the error.", show_default="yes")
    ] = None,
    run: RunOption = None,
    sort: Annotated[str, typer.Option("--sort", help="Order: excess or neuron.")] = "excess",
    limit: LimitOption = 50,
    offset: OffsetOption = 0,
    format: FormatOption = Format.TABLE,
) -> None:
    """Universal neurons: those that surely come back in other models.

    With --min-excess those that have at least this one, universal or not. How many are undecided is told."""
    from catalog import UniversalFilter, connect_rows

    wanted = UniversalFilter(
        model=model,
        layers=parse_layers(layer),
        min_excess=min_excess,
        state=state,
        run=run,
        sort=sort,
        limit=limit,
        offset=offset,
    )
    with connect_rows() as store:
        answer = store.universal_neurons(wanted)
        show_rows(answer, format)
        tell(len(answer), lambda: store.count_universal(wanted), "neurons", lambda: store.why(why_empty().universal, wanted))
        if min_excess is None and state in (None, "yes"):
            undecided = store.count_universal(replace(wanted, state="undecided"))
            _tell_more(undecided, "undecided", "--state undecided prints them")


def families(
    model: ModelOption = None,
    by: Annotated[str, typer.Option("--by", help="Count per layer, or per model only.")] = "layer",
    run: RunOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Neurons per model, layer and family; 0: looked for, none found.

    Those of the family unexplained are universal, their best feature is below its threshold, and no rule of position, bos,
    prediction, suppression, partition, entropy or attention labels them: not every universal neuron without a label is one."""
    from catalog import connect_rows

    with connect_rows() as store:
        answer = store.family_counts(model=model, run=run, by=by)
        show_rows(answer, format)
        tell_why(len(answer), lambda: store.why(why_empty().counts, model, run))
        for said in store.without_candidates(model=model, run=run):
            talk(said)


def matches(
    model: ModelArgument,
    neuron: NeuronWords = None,
    other_model: Annotated[str | None, typer.Option("--other-model", help="Only matches in this model.")] = None,
    run: RunOption = None,
    limit: LimitOption = 50,
    format: FormatOption = Format.TABLE,
) -> None:
    """The neurons of other seeds that correlate most with one."""
    from catalog import NeuronRef, connect_rows

    ref = NeuronRef(*parse_model_neuron(model, neuron))
    with connect_rows() as store:
        answer = store.neuron_matches(ref, run=run, other_model=other_model, limit=limit)
        show_rows(answer, format)
        tell(
            len(answer),
            lambda: store.count_matches(ref, run, other_model),
            "matches",
            lambda: store.why(why_empty().matches, ref, run, other_model),
        )


def similar(
    model: ModelArgument,
    neuron: NeuronWords = None,
    by: Annotated[str, typer.Option("--by", help="What is compared: w_out, w_in or logit_effect.")] = "w_out",
    opposite: Annotated[bool, typer.Option("--opposite", help="The most opposite neurons, not the nearest.")] = False,
    other_model: Annotated[
        str | None, typer.Option("--other-model", help="Only neurons of this model; others than its own by logit_effect only.")
    ] = None,
    run: RunOption = None,
    limit: LimitOption = 20,
    format: FormatOption = Format.TABLE,
) -> None:
    """The neurons whose weights or effects are most like one's.

    Effects are those on the logits; they alone compare neurons of different models."""
    from catalog import NeuronRef, connect_rows

    ref = NeuronRef(*parse_model_neuron(model, neuron))
    with connect_rows() as store:
        answer = store.similar(ref, by, opposite, other_model, run, limit)
        show_rows(answer, format)
        tell(
            len(answer),
            lambda: store.count_similar(ref, by, other_model, run),
            "neurons",
            lambda: f"there is no other neuron whose {by} could be compared",
        )


def groups(
    min_size: Annotated[int, typer.Option("--min-size", min=2, help="Least number of seeds in a group.")] = 2,
    model: ModelOption = None,
    run: RunOption = None,
    limit: LimitOption = 50,
    format: FormatOption = Format.TABLE,
) -> None:
    """Neurons of different seeds that are all best matches. One row per group and member; --limit counts groups."""
    from catalog import connect_rows

    with connect_rows() as store:
        answer = store.groups(min_size=min_size, model=model, run=run, limit=limit)
        show_rows(answer, format)
        tell(
            len(set(answer.column("group_id"))),
            lambda: store.count_groups(min_size, model, run),
            "groups",
            lambda: store.why(why_empty().groups, min_size, model, run),
        )


def layers(model: ModelOption = None, run: RunOption = None, format: FormatOption = Format.TABLE) -> None:
    """Each layer of each model: universal share, median statistics."""
    from catalog import connect_rows

    with connect_rows() as store:
        answer = store.layer_profiles(model=model, run=run)
        show_rows(answer, format)
        tell_why(len(answer), lambda: store.why(why_empty().nothing))


def depth(model: ModelOption = None, run: RunOption = None, format: FormatOption = Format.TABLE) -> None:
    """In which layers of the other seeds the best matches lie."""
    from catalog import connect_rows

    with connect_rows() as store:
        answer = store.depth_matrix(model=model, run=run)
        show_rows(answer, format)
        tell_why(len(answer), lambda: store.why(why_empty().depth, model, run))


def _tell_more(count: int, what: str, how: str) -> None:
    """Say how many more rows another filter prints, and which, if there are any."""
    if count:
        talk(f"{count} more {'is' if count == 1 else 'are'} {what}; {how}")
