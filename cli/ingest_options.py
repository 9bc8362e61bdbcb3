"""The options of what asks for an ingest, `ingest` and `plan`: declared once, a parameter for each field of its settings."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

import typer

from catalog import parts
from catalog.errors import InputError
from cli.command import Command
from cli.options import BatchTokensOption, DeviceOption, MemoryOption, finite, parse_names
from ingest.settings import IngestSettings


def _parts() -> str:
    """Names of parts for the help; what cannot be imported is told by the command that needs it."""
    try:
        return ", ".join(parts.names())
    except InputError:
        return ", ".join(parts.OWN)


Words = str | None
"""Names with commas."""


class Options:
    """The options by the field of the settings, in the order of the help. Defaults are those of the fields."""

    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Folders, GGUF files or hub names, each [NAME=]LOCATION[@REVISION].")
    ]
    corpus: Annotated[
        str | None, typer.Option("--corpus", help="A JSON Lines or Parquet file, a folder of them, or a data set on the hub.")
    ]
    model_family: Annotated[
        str | None, typer.Option("--model-family", help="What these seeds of one architecture are called together.")
    ]
    context: Annotated[
        int | None,
        typer.Option("--context", "--context-length", help="Tokens per row with BOS; else the smaller of 512 and n_ctx."),
    ]
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Tokens to keep, after rows are shuffled; else all.")
    ]
    device: DeviceOption
    memory_gb: MemoryOption
    precision: Annotated[
        str, typer.Option("--precision", help="Of products: fp32; bf16, where the device has it; tf32 on a CUDA device.")
    ]
    seed: Annotated[int, typer.Option("--seed", help="Of the shuffle and of the rotated baseline.")]
    baseline_draws: Annotated[int, typer.Option("--baseline-draws", help="Rotations that the baseline averages.")]
    controls: Annotated[
        int, typer.Option("--controls", help="Twins of the first model that tell what chance labels; 0: no control.")
    ]
    control_tokens: Annotated[
        int | None, typer.Option("--control-tokens", help="Tokens that a twin reads, the first of the corpus; else all.")
    ]
    top_k: Annotated[int, typer.Option("--top-k", help="Matches to keep per neuron and other model.")]
    only: Annotated[
        Words, typer.Option("--only", help=f"Parts, with commas: {_parts()}; roles: what neurons do; else all.")
    ]
    again: Annotated[bool, typer.Option("--again", help="Compute a run that is published already.")]
    batch_tokens: BatchTokensOption
    subset_column: Annotated[
        str, typer.Option("--subset-column", help="The corpus's column of subset names; '' for none.")
    ]
    text_column: Annotated[str, typer.Option("--text-column", help="The corpus's column of text.")]
    split: Annotated[str | None, typer.Option("--split", help="Split of a data set on the hub.")]
    corpus_revision: Annotated[str | None, typer.Option("--corpus-revision", help="Revision of a data set on the hub.")]
    encoding: Annotated[str, typer.Option("--encoding", help="Of JSON Lines, such as latin-1.")]
    include: Annotated[
        Words, typer.Option("--include", help="Patterns, with commas, of a folder's files to read: 'en/*.jsonl'; else all.")
    ]
    exclude: Annotated[
        Words, typer.Option("--exclude", help="Patterns, with commas, of a folder's files to leave out: '**/*.json'.")
    ]
    keep_eos: Annotated[bool, typer.Option("--keep-eos", help="Keep end-of-text tokens between documents.")]
    bos: Annotated[
        str, typer.Option("--bos", help="BOS before every row: auto, as the tokenizer's files have it; always; never.")
    ]
    min_count: Annotated[
        int, typer.Option("--min-count", help="Occurrences that a token needs to be among a neuron's top tokens.")
    ]
    ngram_tokens: Annotated[
        int, typer.Option("--ngram-tokens", help="Tokens whose n-grams are counted, a bit per neuron each.")
    ]
    intervention_tokens: Annotated[
        int, typer.Option("--intervention-tokens", help="Tokens on which neurons are held, or taken from heads.")
    ]
    direction_tokens: Annotated[
        int | None,
        typer.Option("--direction-tokens", help="Of these, on which entropy neurons face other directions; else all."),
    ]
    ablation_pairs: Annotated[
        int, typer.Option("--ablation-pairs", help="Neurons and heads of each sign of h whose path is ablated.")
    ]
    substitution_tokens: Annotated[
        int, typer.Option("--substitution-tokens", help="Tokens on which neurons are replaced by their matches.")
    ]
    substitution_neurons: Annotated[
        int | None,
        typer.Option("--substitution-neurons", help="Neurons of a model to replace; else the universal and as many others."),
    ]
    spacy_model: Annotated[str, typer.Option("--spacy-model", help="The installed spaCy pipeline for syntax.")]
    syntax_subsets: Annotated[
        Words, typer.Option("--syntax-subsets", help="Subsets to annotate, with commas; else those of English prose.")
    ]
    topics: Annotated[
        str | None, typer.Option("--topics", help="CSV of token_id,topic; else topics are found in the corpus.")
    ]
    jobs: Annotated[int | None, typer.Option("--jobs", help="Least number of jobs to cut the work into.")]
    enqueue: Annotated[bool, typer.Option("--enqueue", help="Leave the jobs to `catalog worker` processes.")]
    staging: Annotated[
        str | None, typer.Option("--staging", help="Folder of sums and checkpoints, which all workers must reach.")
    ]
    checkpoint_minutes: Annotated[
        float, typer.Option("--checkpoint-minutes", callback=finite, help="A longer job saves its sums so often.")
    ]


PARAMETERS = {"memory_gb": "memory"}
"""Of fields that have another name than their option."""


class IngestCommand(Command):
    """A command with these options, whose help says which parts of a run an option is for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from ingest.identity import parts_by_setting

        try:
            parts_of = parts_by_setting()
        except InputError:  # a module with further parts cannot be imported, which the command itself will tell
            parts_of = {}
        parameters: list[Any] = list(self.params)
        for parameter in parameters:
            told = f" For {', '.join(parts_of.get(parameter.name, ()))}."
            if parameter.name in parts_of and not parameter.help.endswith(told):
                parameter.help += told
        super().format_help(ctx, formatter)


def asks_for_an_ingest(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of an ingest in place of its first parameter, the settings that they make."""
    more = list(inspect.signature(command).parameters.values())[1:]
    options = get_type_hints(Options, include_extras=True)
    parameters = {name: PARAMETERS.get(name, name) for name in options}
    defaults = {field.name: field.default for field in fields(IngestSettings)}
    lists = {field.name for field in fields(IngestSettings) if field.type == tuple[str, ...]} - {"models"}

    def with_options(**options: Any) -> None:
        asked = {name: options.pop(parameter) for name, parameter in parameters.items()}
        asked |= {name: parse_names(asked[name]) for name in lists}
        command(IngestSettings(**asked | {"models": tuple(asked["models"])}), **options)

    made = [
        inspect.Parameter(
            parameter,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if defaults[name] is MISSING else None if name in lists else defaults[name],
            annotation=options[name],
        )
        for name, parameter in parameters.items()
    ]
    made += [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in more]
    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    with_options.__signature__ = inspect.Signature(made)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in made}
    return with_options
