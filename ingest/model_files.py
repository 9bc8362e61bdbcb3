"""Finds a checkpoint in a folder or on the hub, and reads what can be used; everything else is refused in one sentence."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from catalog.errors import InputError
from ingest.architectures import LAYERS
from ingest.model_arguments import ModelSource
from ingest.quiet import quiet


def read_config(source: ModelSource) -> Any:
    """The model's configuration.

    Raises:
        InputError: no config.json in the folder, one that is damaged, or no such model on the hub.
    """
    if source.is_local:
        path = Path(source.location) / "config.json"
        if not path.is_file():
            raise InputError(f"{source.location} is no checkpoint, it has no config.json; give a Hugging Face model folder.")
        try:
            json.loads(path.read_text())
        except (ValueError, OSError) as error:
            raise InputError(f"{path} cannot be read ({error}); get an undamaged checkpoint.") from None
    return load(source, "configuration", AutoConfig.from_pretrained)


def load_tokenizer(source: ModelSource, d_vocab: int) -> Any:
    """The model's tokenizer.

    Raises:
        InputError: there is none (the library would make up an empty one), or it gives ids that the model does not embed.
    """
    tokenizer = load(source, "tokenizer", AutoTokenizer.from_pretrained)
    ids = set(tokenizer.get_vocab().values())
    if ids <= set(tokenizer.all_special_ids):
        raise InputError(f"{source.location} has no tokenizer; put the tokenizer files that the model was trained with there.")
    if max(ids) >= d_vocab:
        raise InputError(
            f"the tokenizer of {source.location} has ids up to {max(ids)} and the model embeds {d_vocab}; use the tokenizer "
            "that the model was trained with."
        )
    return tokenizer


def load_model(source: ModelSource) -> Any:
    """The raw model in the dtype it was saved in.

    Raises:
        InputError: parameters are missing or of another shape; the library would fill them with random numbers.
    """
    options = {"dtype": "auto", "attn_implementation": "sdpa", "output_loading_info": True}
    model, report = load(source, "weights", AutoModelForCausalLM.from_pretrained, **options)
    absent = sorted(report["missing_keys"]) + sorted(str(key[0]) for key in report["mismatched_keys"])
    if absent:
        raise InputError(
            f"the weights of {source.location} lack {absent[0]} ({len(absent)} tensors in all are missing); give a complete "
            "Hugging Face checkpoint."
        )
    return model


def load(source: ModelSource, what: str, loader: Any, **options: Any) -> Any:
    """Call a from_pretrained; everything that it raises about files becomes one sentence."""
    from safetensors import SafetensorError

    arguments: dict[str, Any] = {"revision": source.revision} if source.revision else {}
    if source.is_local:
        arguments["local_files_only"] = True
    try:
        with quiet():
            return loader(source.location, **arguments, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the {what} of {source.location} cannot be loaded ({reason}); give a complete Hugging Face checkpoint."
        ) from error


def refuse_unsupported(source: ModelSource, config: Any) -> None:
    """Raises:
    InputError: weights of this architecture cannot be processed; the sentence says why.
    """
    if config.model_type not in LAYERS and hasattr(config, "rms_norm_eps"):
        raise InputError(
            f"{source.location} is a {config.model_type!r} model, which normalises by RMSNorm: without centring its weights "
            "cannot be processed as the catalog's definitions want; of interventions entropy, loss, rank and KL would be "
            f"defined, the centred scale and the final-layer formula not. Those that work are {', '.join(LAYERS)}."
        )
    if config.model_type not in LAYERS:
        raise InputError(f"{source.location} is a {config.model_type!r} model; those that work are {', '.join(LAYERS)}.")
    if config.model_type == "opt" and not getattr(config, "do_layer_norm_before", True):
        raise InputError(
            f"{source.location} normalises after each block (do_layer_norm_before is false), so its layer norms cannot be "
            "folded into the weights; give a model with pre-layer-norm."
        )
    if config.model_type == "opt" and not (config.enable_bias and config.layer_norm_elementwise_affine):
        raise InputError(
            f"{source.location} has no biases or no layer-norm gains (enable_bias, layer_norm_elementwise_affine), which "
            "weight processing needs; give a model that has them."
        )
    if config.model_type == "opt" and config.word_embed_proj_dim != config.hidden_size:
        raise InputError(
            f"{source.location} projects its embeddings (word_embed_proj_dim differs from hidden_size), so its unembedding "
            "cannot be folded; give a model without a projection."
        )


def weights_sha256(model: nn.Module, source: ModelSource) -> str:
    """sha256 over names, dtypes, shapes and bytes of all parameters, tied ones once; independent of the file layout.

    Raises:
        InputError: a parameter holds NaN or infinity; the sentence names it.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.named_parameters(), key=lambda item: item[0]):
        values = tensor.detach().contiguous()
        if not torch.isfinite(values).all():
            raise InputError(f"the weights of {source.location} are not finite in {name}; get an undamaged checkpoint.")
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
