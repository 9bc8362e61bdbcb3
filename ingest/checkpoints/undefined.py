"""What is not defined for a model, and why, in words that follow "because"."""

from typing import Any

from ingest.checkpoints.architectures import Architecture
from ingest.checkpoints.checkpoint import Checkpoint
from ingest.checkpoints.processing import logits_capped


def no_direct_effects(checkpoint: Checkpoint) -> str | None:
    """Why what a neuron writes has no effect on logits by itself; None where it has."""
    if checkpoint.modules.architecture.written_norms:
        return "a norm stands between what an MLP gives and the residual stream, so that no neuron writes by itself"
    if logits_capped(checkpoint):
        return "logits are bounded after the unembedding (final_logit_softcapping), so that they are no sum of effects"
    return None


def no_attention(checkpoint: Checkpoint, context: int) -> str | None:
    """Why queries, keys and values are not read off the residual by matrices alone; None where they are.

    Args:
        context: tokens of a row.
    """
    architecture: Architecture = checkpoint.modules.architecture
    config: Any = checkpoint.model.config
    if architecture.written_norms:
        return "a norm stands between what an MLP gives and the residual stream, so that no neuron writes by itself"
    if architecture.query_norm is not None:
        return "queries and keys are normalised, so that no product of matrices gives a score"
    if getattr(config, "clip_qkv", None) is not None:
        return f"queries, keys and values are cut at {config.clip_qkv} (clip_qkv), so that no product of matrices gives a score"
    window = _window(checkpoint)
    if window is not None and window < context:
        return f"layers attend to the last {window} tokens alone, which are fewer than the {context} of a row"
    return None


def _window(checkpoint: Checkpoint) -> int | None:
    """How far back layers see that do not see the whole row; None where all do."""
    config: Any = checkpoint.model.config
    if checkpoint.architecture == "gpt_neo":
        return int(config.window_size) if "local" in config.attention_layers else None
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    return None if window is None or (kinds is not None and "sliding_attention" not in kinds) else int(window)
