"""A model's configuration: read, and checked before anything is computed from it.

What only decides how outputs are wrapped is set here, so that it cannot matter; what decides the function itself is in
`ingest.checkpoints.behaviour`; what the catalog's definitions do not hold for is refused by its name.
"""

import math
from typing import Any

from transformers import AutoConfig
from transformers.activations import ACT2FN

from catalog.errors import InputError
from ingest.checkpoints.architectures import ARCHITECTURES
from ingest.checkpoints.arguments import ModelSource
from ingest.checkpoints.first_looks import config_text, refuse_architecture, refuse_code
from ingest.checkpoints.gguf_file import check_header, read_header
from ingest.checkpoints.gguf_model import complete
from ingest.checkpoints.libraries import load

WRAPPING = {"return_dict": True, "output_attentions": False, "output_hidden_states": False}
"""Keys that change what a forward pass returns beside the logits, and the values that the catalog reads."""
LARGEST_SEED = 2**63 - 1


def read_config(source: ModelSource) -> Any:
    """The model's configuration.

    Raises:
        InputError: no config.json in the folder, one that is damaged, no such model on the hub, or a GGUF file that cannot be
            read.
    """
    header = None if source.file is None else read_header(source.file)
    if header is not None:
        check_header(header)
    elif source.is_local:
        said = config_text(source)
        refuse_code(source, "config.json", said.get("auto_map"))
        refuse_architecture(source, said.get("model_type"))
    config = load(source, "configuration", AutoConfig.from_pretrained, **WRAPPING, **source.in_folder)
    if header is not None:
        complete(config, header)
    check_config(source, config)
    return config


def check_config(source: ModelSource, config: Any) -> None:
    """Raises:
    InputError: weights of this architecture cannot be processed, or a value is none that it can have; the sentence names
        the key, the value and the rule.
    """
    refuse_code(source, "config.json", getattr(config, "auto_map", None))
    refuse_architecture(source, config.model_type)
    _check_values(source, config)
    for wrong, sentence in _unfoldable(config):
        if wrong:
            raise InputError(f"{source.location} {sentence}")


def _check_values(source: ModelSource, config: Any) -> None:
    """Values that a library would meet by a traceback, or not at all."""
    reads = ARCHITECTURES[config.model_type].reads

    def refuse(name: str, rule: str) -> None:
        key = reads.get(name, name)
        value = getattr(config, key, None)
        raise InputError(f"config.json of {source.location} has {key} {value!r}, which is {rule}; correct it.")

    for name in ("n_layers", "d_model", "n_heads", "d_vocab", "n_ctx", "d_mlp"):
        value = getattr(config, reads[name])
        if name == "d_mlp" and isinstance(value, (list, tuple)):
            refuse(name, "a width for each layer, and a model here has as many neurons in every layer")
        if not (value is None and name == "d_mlp") and (type(value) is not int or value < 1):
            refuse(name, "no whole number above 0")
    if config.hidden_size % config.num_attention_heads:
        refuse("n_heads", f"no divisor of the {config.hidden_size} dimensions of the residual")
    if getattr(config, reads["activation_function"]) not in ACT2FN:
        refuse("activation_function", "no activation function that is known")
    named = "rms_norm_eps" if "rms_norm_eps" in reads else "layer_norm_eps"
    eps = getattr(config, reads.get(named, ""), 0.0)
    if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not (math.isfinite(eps) and eps >= 0):
        refuse(named, "no finite number from 0")
    seed = getattr(config, "seed", None)
    if seed is not None and (type(seed) is not int or not -LARGEST_SEED <= seed <= LARGEST_SEED):
        refuse("seed", "no whole number of 64 bits (it is kept with the model, and may be left out)")


def head_width(config: Any) -> int:
    """Dimensions of a head, which some configurations say."""
    said = getattr(config, "head_dim", None) if "d_head" in ARCHITECTURES[config.model_type].reads else None
    return int(said or config.hidden_size // config.num_attention_heads)


def _unfoldable(config: Any) -> list[tuple[bool, str]]:
    """What weight processing does not do, and how to say it."""
    heads = config.hidden_size // config.num_attention_heads
    head_dim = getattr(config, "head_dim", None)
    general = [
        (getattr(config, "is_causal", True) is False, "sees later tokens (is_causal is false), so it is no decoder; give one."),
        (
            bool(getattr(config, "use_bidirectional_attention", False)),
            "sees later tokens (use_bidirectional_attention), so it is no decoder; give one.",
        ),
        (
            getattr(config, "quantization_config", None) is not None,
            "is quantised (quantization_config), and statistics are of full weights; give the model before quantisation.",
        ),
        (
            head_dim not in (None, heads) and "d_head" not in ARCHITECTURES[config.model_type].reads,
            f"has head_dim {head_dim} where its heads are {heads} wide; correct config.json, or give another model.",
        ),
        (
            config.num_attention_heads % (getattr(config, "num_key_value_heads", None) or 1) != 0,
            f"has {getattr(config, 'num_key_value_heads', None)} key heads (num_key_value_heads), no divisor of its "
            f"{config.num_attention_heads} heads; correct config.json.",
        ),
    ]
    return general + {"gpt2": _gpt2, "opt": _opt, "phi": _phi}.get(config.model_type, lambda config: [])(config)


def _gpt2(config: Any) -> list[tuple[bool, str]]:
    sentence = "has cross-attention (add_cross_attention), so it is no language model alone; give one."
    return [(bool(config.add_cross_attention), sentence)]


def _phi(config: Any) -> list[tuple[bool, str]]:
    return [
        (
            bool(config.qk_layernorm),
            "normalises queries and keys (qk_layernorm), which no published model of this architecture does; give one without.",
        ),
    ]


def _opt(config: Any) -> list[tuple[bool, str]]:
    return [
        (
            not config.do_layer_norm_before,
            "normalises after each block (do_layer_norm_before is false), so its layer norms cannot be folded into the "
            "weights; give a model with pre-layer-norm.",
        ),
        (
            bool(config._remove_final_layer_norm),
            "has no final layer norm (_remove_final_layer_norm), which weight processing folds; give a model that has one.",
        ),
        (
            config.word_embed_proj_dim != config.hidden_size,
            "projects its embeddings (word_embed_proj_dim differs from hidden_size), so its unembedding cannot be folded; "
            "give a model without a projection.",
        ),
    ]
