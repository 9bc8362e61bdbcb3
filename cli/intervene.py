"""What a model does without its neurons, measured when it is asked: `catalog intervene` and `catalog ablate`."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.failures import when_interrupted
from cli.options import (
    BatchTokensOption,
    DeviceOption,
    FormatOption,
    ModelArgument,
    NeuronArgument,
    RunOption,
    parse_head,
    parse_neuron,
    parse_values,
)
from cli.output import Format, show_rows
from cli.progress import watch
from ingest.settings import INTERVENTION_TOKENS

if TYPE_CHECKING:
    from ingest.roles.intervention import Change

NeuronsArgument = Annotated[
    list[str], typer.Argument(metavar="LAYER.INDEX...", help="Neurons; those joined by commas are held together: 1.3,1.7.")
]
HeadsArgument = Annotated[
    list[str], typer.Argument(metavar="LAYER.HEAD...", help="Heads of later layers: 5.0, or A5.H0, is layer 5, head 0.")
]
TokensOption = Annotated[int, typer.Option("--tokens", help="Tokens of the run's corpus, BOS included, from its start.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(intervene)
    app.command()(ablate)


def intervene(
    model: ModelArgument,
    neurons: NeuronsArgument,
    fix: Annotated[str | None, typer.Option("--fix", help="Set post to each of these, with commas: -0.17,0,6.")] = None,
    multiply: Annotated[str | None, typer.Option("--multiply", help="Multiply post by each of these.")] = None,
    threshold: Annotated[str | None, typer.Option("--threshold", help="Let pre be at most each of these.")] = None,
    zero: Annotated[bool, typer.Option("--zero", help="Set pre to 0.")] = False,
    relu: Annotated[bool, typer.Option("--relu", help="Let pre be at least 0.")] = False,
    tokens: TokensOption = INTERVENTION_TOKENS,
    run: RunOption = None,
    device: DeviceOption = "auto",
    batch_tokens: BatchTokensOption = 4096,
    format: FormatOption = Format.TABLE,
) -> None:
    """Hold neurons at a value; measure what is predicted, and store it.

    Without a change, post is fixed to -0.17, 0, 1 … 6."""
    sets = tuple(tuple(parse_neuron(part) for part in text.split(",")) for text in neurons)
    with_values: tuple[tuple[Change, str | None], ...] = (("fix", fix), ("multiply", multiply), ("threshold", threshold))
    without: tuple[tuple[Change, bool], ...] = (("zero", zero), ("relu", relu))
    changes = [(change, value) for change, text in with_values for value in parse_values(f"--{change}", text)]
    changes += [(change, 0.0) for change, wanted in without if wanted]
    with when_interrupted("nothing was stored"), watch() as progress:
        from ingest.asked.settings import InterveneSettings, check_asked
        from ingest.roles.intervention import FIXED_AT

        settings = InterveneSettings(
            model=model,
            neurons=sets,
            changes=tuple(changes) or tuple(("fix", value) for value in FIXED_AT),
            tokens=tokens,
            run=run,
            device=device,
            batch_tokens=batch_tokens,
        )
        check_asked(settings)
        # seconds, in which a person may change their mind
        from ingest.asked.intervene import intervene as run_interventions

        measured = run_interventions(settings, progress)
    show_rows(measured, format)


def ablate(
    model: ModelArgument,
    neuron: NeuronArgument,
    heads: HeadsArgument,
    tokens: TokensOption = INTERVENTION_TOKENS,
    run: RunOption = None,
    device: DeviceOption = "auto",
    batch_tokens: BatchTokensOption = 4096,
    format: FormatOption = Format.TABLE,
) -> None:
    """Take a neuron from the queries of heads; measure what they do.

    One row per head: its attention to BOS and the norms of what it writes, and their changes, which are stored as well."""
    asked = parse_neuron(neuron), tuple(parse_head(head) for head in heads)
    with when_interrupted("nothing was stored"), watch() as progress:
        from ingest.asked.settings import AblateSettings, check_asked

        settings = AblateSettings(
            model=model, neuron=asked[0], heads=asked[1], tokens=tokens, run=run, device=device, batch_tokens=batch_tokens
        )
        check_asked(settings)
        from ingest.asked.ablate import ablate as run_ablations

        measured = run_ablations(settings, progress)
    show_rows(measured, format)
