"""What can be told of a model before torch is imported: its folder, its config.json, its files, or what the hub says."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from catalog import parts as catalog_parts
from catalog.errors import InputError, did_you_mean
from ingest.checkpoints.architectures import ARCHITECTURES
from ingest.checkpoints.arguments import ModelSource, nearest, parse_model_argument
from ingest.checkpoints.gguf_file import check_header, read_header
from ingest.checkpoints.hub import ask_hub

WEIGHTS = (".safetensors", ".bin")
"""Endings of files that hold tensors."""
WHOLE_OR_PIECES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files of which the library takes the first that is there."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
"""Files of which a tokenizer needs one."""
DEFAULT_CONTEXT = 512


def check_models(
    arguments: Iterable[str], parts: Sequence[str], context: int | None, only_configurations: bool = False
) -> list[ModelSource]:
    """What the arguments name, once nothing of it is missing that a look at the files can tell.

    Args:
        parts: the parts of a run that are asked for.
        context: tokens per row, if that is asked for.
        only_configurations: weights and tokenizers are not needed.
    Raises:
        InputError: no such folder, not enough of a checkpoint in it, or models that cannot be in one run.
        InputError: no such model on the hub, or no hub within reach and no such model in its cache.
    """
    sources = [parse_model_argument(argument) for argument in arguments]
    check_together(sources, parts)
    n_ctx: list[int] = []
    for source in sources:
        if not source.is_local:
            _check_on_hub(source)
            continue
        longest = _look(source, only_configurations)
        n_ctx += [longest] if isinstance(longest, int) else []
    if n_ctx:
        context_length(context, n_ctx)
    return sources


def _look(source: ModelSource, only_configuration: bool) -> object:
    """What can be told of a model here; gives what its configuration says of the longest row that it reads."""
    if source.file is not None:
        header = read_header(source.file)
        check_header(header)
        return header.of_architecture().get("context_length")
    config = config_text(source)
    refuse_code(source, "config.json", config.get("auto_map"))
    refuse_architecture(source, config.get("model_type"))
    if not only_configuration:
        _check_files(source)
    return config.get("max_position_embeddings", config.get("n_positions"))


def context_length(asked: int | None, n_ctx: Sequence[int]) -> int:
    """Tokens per row.

    Args:
        n_ctx: tokens that each model can read.
    Raises:
        InputError: the models cannot read rows so long.
    """
    longest = min(n_ctx)
    if asked is not None and asked > longest:
        raise InputError(f"--context {asked} is longer than the models read; give at most {longest}.")
    return asked or min(DEFAULT_CONTEXT, longest)


def check_together(sources: Sequence[ModelSource], parts: Sequence[str]) -> None:
    """Raises:
    InputError: fewer than two models for parts that compare them, one given twice, or two of one name.
    """
    comparing = catalog_parts.of_several_models(parts)
    if len(sources) < 2 and comparing:
        others = ",".join(part for part in parts if part not in comparing) or "weights"
        raise InputError(
            f"at least two models are needed for {' and '.join(comparing)}; give more of them, or --only {others} for one."
        )
    places: set[tuple[str, str | None]] = set()
    by_name: dict[tuple[str, str | None], ModelSource] = {}
    for source in sources:
        place = (source.location, source.revision)
        if place in places:
            raise InputError(f"{source.location} is given twice; give each model once.")
        places.add(place)
        twin = by_name.setdefault((source.name, source.revision), source)
        if twin is not source:
            raise InputError(
                f"{twin.location} and {source.location} are both named {source.name!r}; rename one as "
                f"NEWNAME={source.location}."
            )


def config_text(source: ModelSource) -> dict[str, Any]:
    """A local model's config.json as it is written.

    Raises:
        InputError: there is none, or it holds no JSON object.
    """
    path = Path(source.location) / "config.json"
    if not path.is_file():
        raise InputError(f"{source.location} is no checkpoint, it has no config.json; give a Hugging Face model folder.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); get an undamaged checkpoint.") from None
    if not isinstance(config, dict):
        raise InputError(f"{path} cannot be read (it holds no JSON object); get an undamaged checkpoint.")
    return config


def refuse_code(source: ModelSource, file: str, auto_map: object) -> None:
    """Raises:
    InputError: the file names Python code that comes with the model, which would have to be run.
    """
    if not auto_map:
        return
    named = sorted(map(str, auto_map.values())) if isinstance(auto_map, dict) else [str(auto_map)]
    raise InputError(
        f"{file} of {source.location} names code of its own (auto_map: {named[0]}), which is never run here; give a model of "
        "an architecture that needs none."
    )


def refuse_architecture(source: ModelSource, model_type: object) -> None:
    """Raises:
    InputError: there is no description of this architecture; the sentence names those that there are.
    """
    if model_type in ARCHITECTURES:
        return
    described = ", ".join(sorted(ARCHITECTURES))
    if model_type is None:
        raise InputError(f"{source.location}/config.json names no model_type; give a checkpoint of {described} that names it.")
    near = did_you_mean(str(model_type), ARCHITECTURES)
    raise InputError(
        f"{source.location} is a {model_type!r} model, an architecture without description here{near}; those that work are "
        f"{described}."
    )


def _check_files(source: ModelSource) -> None:
    names = [file.name for file in Path(source.location).iterdir()]
    if not any(name.endswith(WEIGHTS) for name in names):
        raise InputError(f"{source.location} has no weights ({' or '.join(WEIGHTS)}); give a complete Hugging Face checkpoint.")
    check_pieces(source)
    if not set(TOKENIZERS) & set(names):
        raise InputError(f"{source.location} has no tokenizer; put the tokenizer files that the model was trained with there.")


def check_pieces(source: ModelSource) -> None:
    """Raises:
    InputError: weights are in pieces, and one of them is missing, or the list of them is damaged.
    """
    first = next((name for name in WHOLE_OR_PIECES if (Path(source.location) / name).exists()), "")
    if not first.endswith(".json"):
        return
    path = Path(source.location) / first
    try:
        pieces = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, OSError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}); get an undamaged checkpoint.") from None
    missing = [piece for piece in pieces if not (Path(source.location) / piece).is_file()]
    if missing:
        raise InputError(
            f"{source.location} lacks {missing[0]} ({len(missing)} of the {len(pieces)} files that {first} names are missing); "
            "get the whole checkpoint."
        )


def _check_on_hub(source: ModelSource) -> None:
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(source.location, "config.json", revision=source.revision), str):
        return
    answer = ask_hub("model", source.location, source.revision)
    refused = f"there is no folder {source.location!r}{nearest(source.location)}, and "
    if answer.state == "unreachable":
        raise InputError(
            f"{refused}the hub cannot be asked for such a model ({answer.reason}); give the folder of a checkpoint."
        )
    if answer.state == "absent":
        asked = f"{source.location}@{source.revision}" if source.revision else source.location
        raise InputError(
            f"{refused}no model {asked} on the hub that may be read; give the folder of a checkpoint, or a hub name as "
            "OWNER/NAME."
        )
    if answer.model_type is not None:
        refuse_architecture(source, answer.model_type)
