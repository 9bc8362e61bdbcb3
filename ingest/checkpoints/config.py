"""A model's configuration: read, and checked before anything is computed from it.

What only decides how outputs are wrapped is set here, so that it cannot matter; what decides the function itself is in
`ingest.checkpoints.behaviour`; what the catalog's definitions do not hold for is refused by its name.
"""

import math
from typing import Any

from transformers import AutoConfig
from transformers.activations import ACT2FN

from catalog.errors import InputError
from ingest.checkpoints.arguments import ModelSource
from ingest.checkpoints.behaviour import READS
from ingest.checkpoints.first_looks import config_text, refuse_architecture
from ingest.checkpoints.libraries import load

WRAPPING = {"return_dict": True, "output_attentions": False, "output_hidden_states": False}
"""Keys that change what a forward pass returns beside the logits, and the values that the catalog reads."""
LARGEST_SEED = 2**63 - 1


def read_config(source: ModelSource) -> Any:
    """The model's configuration.

    Raises:
        InputError: no config.json in the folder, one that is damaged, or no such model on the hub.
    """
    if source.is_local:
        config_text(source)
    config = load(source, "configuration", AutoConfig.from_pretrained, **WRAPPING)
    check_config(source, config)
    return config


def check_config(source: ModelSource, config: Any) -> None:
    """Raises:
    InputError: weights of this architecture cannot be processed, or a value is none that it can have; the sentence names
        the key, the value and the rule.
    """
    refuse_architecture(source, config.model_type, hasattr(config, "rms_norm_eps"))
    _check_values(source, config)
    for wrong, sentence in _unfoldable(config):
        if wrong:
            raise InputError(f"{source.location} {sentence}")


def _check_values(source: ModelSource, config: Any) -> None:
    """Values that a library would meet by a traceback, or not at all."""
    reads = READS[config.model_type]

    def refuse(name: str, rule: str) -> None:
        key = reads.get(name, name)
        value = getattr(config, key, None)
        raise InputError(f"config.json of {source.location} has {key} {value!r}, which is {rule}; correct it.")

    for name in ("n_layers", "d_model", "n_heads", "d_vocab", "n_ctx", "d_mlp"):
        value = getattr(config, reads[name])
        if not (value is None and name == "d_mlp") and (type(value) is not int or value < 1):
            refuse(name, "no whole number above 0")
    if config.hidden_size % config.num_attention_heads:
        refuse("n_heads", f"no divisor of the {config.hidden_size} dimensions of the residual")
    if getattr(config, reads["activation_function"]) not in ACT2FN:
        refuse("activation_function", "no activation function that is known")
    eps = getattr(config, reads.get("layer_norm_eps", ""), 0.0)
    if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not (math.isfinite(eps) and eps >= 0):
        refuse("layer_norm_eps", "no finite number from 0")
    seed = getattr(config, "seed", None)
    if seed is not None and (type(seed) is not int or not -LARGEST_SEED <= seed <= LARGEST_SEED):
        refuse("seed", "no whole number of 64 bits (it is kept with the model, and may be left out)")


def _unfoldable(config: Any) -> list[tuple[bool, str]]:
    """What weight processing does not do, and how to say it."""
    heads = config.hidden_size // config.num_attention_heads
    head_dim = getattr(config, "head_dim", None)
    general = [
        (getattr(config, "is_causal", True) is False, "sees later tokens (is_causal is false), so it is no decoder; give one."),
        (
            getattr(config, "quantization_config", None) is not None,
            "is quantised (quantization_config), and statistics are of full weights; give the model before quantisation.",
        ),
        (
            head_dim not in (None, heads),
            f"has head_dim {head_dim} where its heads are {heads} wide; correct config.json, or give another model.",
        ),
    ]
    return general + {"gpt2": _gpt2, "gpt_neox": _gpt_neox, "opt": _opt}[config.model_type](config)


def _gpt2(config: Any) -> list[tuple[bool, str]]:
    return [
        (
            not config.scale_attn_weights,
            "does not divide attention scores by the root of the head's width (scale_attn_weights is false), which weight "
            "processing does; give a model that does.",
        ),
        (config.add_cross_attention, "has cross-attention (add_cross_attention), so it is no language model alone; give one."),
    ]


def _gpt_neox(config: Any) -> list[tuple[bool, str]]:
    return [
        (
            not config.attention_bias,
            "has no biases of attention (attention_bias is false), which weight processing needs; give a model that has them.",
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
            not (config.enable_bias and config.layer_norm_elementwise_affine),
            "has no biases or no layer-norm gains (enable_bias, layer_norm_elementwise_affine), which weight processing "
            "needs; give a model that has them.",
        ),
        (
            config.word_embed_proj_dim != config.hidden_size,
            "projects its embeddings (word_embed_proj_dim differs from hidden_size), so its unembedding cannot be folded; "
            "give a model without a projection.",
        ),
    ]
