"""What is not defined for a model, and why, in words that follow "because"."""

from dataclasses import dataclass
from typing import Any, Protocol

from ingest.checkpoints.architectures import ARCHITECTURES
from ingest.checkpoints.processing import caps_logits


class Described(Protocol):
    """A checkpoint, or what is known of one before it is opened."""

    @property
    def architecture(self) -> str: ...
    @property
    def config(self) -> Any: ...


@dataclass(frozen=True)
class Configured:
    """A model that is not opened."""

    config: Any
    """Of transformers."""

    @property
    def architecture(self) -> str:
        return str(self.config.model_type)


AFTER_THE_BLOCK = "a norm stands between what a block gives and the residual stream, so that nothing in it writes by itself"


def no_direct_effects(model: Described) -> str | None:
    """Why what a neuron writes has no effect on logits by itself; None where it has."""
    if ARCHITECTURES[model.architecture].written_norms:
        return AFTER_THE_BLOCK
    if caps_logits(model.config):
        return "logits are bounded after the unembedding (final_logit_softcapping), so that they are no sum of effects"
    return None


def no_head_outputs(model: Described) -> str | None:
    """Why what a head gives of a value is not written by matrices alone; None where it is."""
    if ARCHITECTURES[model.architecture].written_norms:
        return AFTER_THE_BLOCK
    bound = getattr(model.config, "clip_qkv", None)
    if bound is not None:
        return f"queries, keys and values are cut at {bound} (clip_qkv), so that no product of matrices gives them"
    return None


def no_queries(model: Described) -> str | None:
    """Why queries and keys are not read off the residual by matrices alone; None where they are."""
    if ARCHITECTURES[model.architecture].query_norm is not None:
        return "queries and keys are normalised, so that no product of matrices gives a score"
    return no_head_outputs(model)


def no_attention(model: Described, context: int) -> str | None:
    """Why what a neuron does to the attention of later heads is not read off the weights; None where it is.

    Args:
        context: tokens of a row.
    """
    reason = no_head_outputs(model) or no_queries(model)
    window = _window(model)
    if reason is None and window is not None and window < context:
        return f"layers attend to the last {window} tokens alone, which are fewer than the {context} of a row"
    return reason


def _window(model: Described) -> int | None:
    """How far back layers see that do not see the whole row; None where all do."""
    config = model.config
    if model.architecture == "gpt_neo":
        return int(config.window_size) if "local" in config.attention_layers else None
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    return None if window is None or (kinds is not None and "sliding_attention" not in kinds) else int(window)
