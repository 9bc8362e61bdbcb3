"""Options and arguments that several commands share, and how their text is read.

The environment twin of an option is CATALOG_<COMMAND>_<OPTION>: the root command's `auto_envvar_prefix` makes it from
the command's words and the parameter's name, so a parameter is always named like its option.
"""

import math
import re
from typing import Annotated

import typer

from catalog.errors import InputError
from cli.output import Format


def finite(parameter: typer.CallbackParam, value: float | None) -> float | None:
    """A number that is neither infinite nor none at all; for options that take decimal numbers.

    Raises:
        InputError: it is.
    """
    if value is not None and not math.isfinite(value):
        raise InputError(f"{parameter.opts[0]} {value} is no finite number; give one.")
    return value


FormatOption = Annotated[Format, typer.Option("--format", help="How rows are printed; a table fits the terminal.")]
FamilyOption = Annotated[str | None, typer.Option("--family", help="Neuron family, such as alphabet.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Only this model.")]
LayerOption = Annotated[str | None, typer.Option("--layer", help="A layer, or first and last: 3 or 3-5.")]
MinExcessOption = Annotated[float | None, typer.Option("--min-excess", callback=finite, help="Least excess correlation.")]
RunOption = Annotated[
    int | None, typer.Option("--run", min=1, help="Read this run, not the newest published one of each model.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=0, help="Most rows; 0 for all.")]
OffsetOption = Annotated[int, typer.Option("--offset", min=0, help="Rows to skip.")]

DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")]
MemoryOption = Annotated[
    float | None, typer.Option("--memory", callback=finite, help="GiB for the running sums; else half of what is free.")
]
BatchTokensOption = Annotated[int, typer.Option("--batch-tokens", help="Tokens per forward pass.")]

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, as in `catalog models`.")]
NeuronArgument = Annotated[str, typer.Argument(metavar="LAYER.INDEX", help="A neuron: 3.10 is layer 3, neuron 10.")]
NeuronWords = Annotated[
    list[str] | None,
    typer.Argument(metavar="LAYER.INDEX", help="A neuron: 3.10 is layer 3, neuron 10. MODEL.3.10 in one word will do, too."),
]

_WHOLE = "0|[1-9][0-9]*"
_NEURON = rf"L?({_WHOLE})[./:]N?({_WHOLE})"
_LARGEST_LAYER = 32767
_LARGEST_INDEX = 2**31 - 1


def parse_neuron(text: str) -> tuple[int, int]:
    """Layer and index of `LAYER.INDEX`, which is text and no decimal number: 3.1 is not 3.10. L3.10 and 3/10 are the same.

    Raises:
        InputError: the text is no LAYER.INDEX.
    """
    match = re.fullmatch(_NEURON, text)
    if not match or int(match[1]) > _LARGEST_LAYER or int(match[2]) > _LARGEST_INDEX:
        raise InputError(f"{text!r} is no LAYER.INDEX; write the layer, a point and the index, such as 3.10.")
    return int(match[1]), int(match[2])


def parse_model_neuron(model: str, words: list[str] | None) -> tuple[str, int, int]:
    """Model, layer and index of `MODEL LAYER.INDEX`, `MODEL LAYER INDEX`, or all in one word: MODEL.3.10, MODEL/3/10.

    Raises:
        InputError: the words are none of these.
    """
    if not words:
        match = re.fullmatch(rf"(.+)[./: ]({_NEURON})", model)
        if not match:
            raise InputError(f"which neuron of {model}? write its layer and index behind it, as in `{model} 3.10`.")
        return match[1], *parse_neuron(match[2])
    if len(words) == 2 and all(re.fullmatch(rf"[LN]?({_WHOLE})", word) for word in words):
        return model, *parse_neuron(".".join(words))
    if len(words) > 1:
        raise InputError(f"{' '.join(words)!r} is more than one LAYER.INDEX; ask about one neuron at a time.")
    return model, *parse_neuron(words[0])


def parse_head(text: str) -> tuple[int, int]:
    """Layer and head of `LAYER.HEAD`, or as labels write it: 5.0 and A5.H0 are head 0 of layer 5.

    Raises:
        InputError: the text is neither.
    """
    match = re.fullmatch(rf"({_WHOLE})\.({_WHOLE})|A({_WHOLE})\.H({_WHOLE})", text)
    layer, head = (int(part) for part in match.groups() if part is not None) if match else (-1, -1)
    if not (0 <= layer <= _LARGEST_LAYER and head <= _LARGEST_LAYER):
        raise InputError(f"{text!r} is no LAYER.HEAD; write the layer, a point and the head, such as 5.0 or A5.H0.")
    return layer, head


def parse_layers(text: str | None) -> tuple[int, int] | None:
    """First and last layer of `3` or `3-5`, both included; None for None.

    Raises:
        InputError: the text is no range of layers.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not first <= last <= _LARGEST_LAYER:
        raise InputError(f"--layer {text!r} is no range of layers; write one layer, or first and last, such as 3-5.")
    return first, last


def parse_names(text: str | None) -> tuple[str, ...]:
    """The parts of a comma list, without surrounding blanks."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def parse_values(option: str, text: str | None) -> tuple[float, ...]:
    """The finite numbers of a comma list.

    Raises:
        InputError: one of them is no number, or not finite.
    """
    values = []
    for part in parse_names(text):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{option} {part!r} is no finite number; give numbers with commas, such as -0.17,0,6.")
        values.append(value)
    return tuple(values)
