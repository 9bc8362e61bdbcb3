"""Weight processing by TransformerBridge's compatibility mode, and the proof that it kept the function (SPEC §0.2)."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from catalog.errors import InputError
from ingest.checkpoints.libraries import reason
from ingest.checkpoints.quiet import quiet

WEIGHT_PROCESSING = "fold_ln, center_writing_weights, center_unembed, fold_value_biases"
INVARIANT_TOLERANCE = 1e-5
"""Largest mean, relative to the largest weight of the matrix, that counts as zero in fp32."""
LOG_PROBABILITY_TOLERANCE = 1e-4
CHECK_ROWS, CHECK_LENGTH = 2, 32


class RawModel(Protocol):
    """What processing asks of a checkpoint: the model as the file has it, and its activations."""

    source: str
    n_layers: int
    n_ctx: int
    tokenizer: Any
    model: Any

    def mlp_activations(self, tokens: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(pre, post) of every layer, each (rows, context, d_mlp) fp32."""


@dataclass(frozen=True)
class ProcessedWeights:
    """The matrices that the catalog needs, fp32, named as TransformerLens has them; value biases are folded into b_O."""

    W_in: Float[Tensor, "layers d_model d_mlp"]
    b_in: Float[Tensor, "layers d_mlp"]
    W_out: Float[Tensor, "layers d_mlp d_model"]
    W_U: Float[Tensor, "d_model d_vocab"]
    b_U: Float[Tensor, " d_vocab"]
    W_Q: Float[Tensor, "layers heads d_model d_head"]
    b_Q: Float[Tensor, "layers heads d_head"]
    W_K: Float[Tensor, "layers heads d_model d_head"]
    b_K: Float[Tensor, "layers heads d_head"]
    W_V: Float[Tensor, "layers heads d_model d_head"]
    W_O: Float[Tensor, "layers heads d_head d_model"]


def processed_weights(checkpoint: RawModel, n_real_tokens: int) -> ProcessedWeights:
    """Fold, centre, check, and copy what is needed.

    Raises:
        InputError: an invariant of §0.2 fails, or log-probabilities or activations differ from the raw model's.
    """
    try:
        with quiet():
            bridge = _boot(checkpoint)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # libraries assert by errors of every kind
        raise InputError(
            f"the weights of {checkpoint.source} cannot be folded ({reason(error)}); this checkpoint cannot be used."
        ) from error
    _check_function(checkpoint, bridge, n_real_tokens)
    weights = ProcessedWeights(
        **{name: getattr(bridge, name).detach().float().clone() for name in ProcessedWeights.__dataclass_fields__}
    )
    _check_invariants(checkpoint, weights, bridge.b_V.detach())
    return weights


def _boot(checkpoint: RawModel) -> Any:
    """A processed bridge over a copy of the raw model."""
    from copy import deepcopy

    from transformer_lens.model_bridge import TransformerBridge

    copy: Any = deepcopy(checkpoint.model)
    copy.set_attn_implementation("eager")  # the bridge hooks the attention pattern, which fused attention does not give
    bridge = TransformerBridge.boot_transformers(
        checkpoint.source,
        device=str(next(checkpoint.model.parameters()).device),
        dtype=torch.float32,
        tokenizer=checkpoint.tokenizer,
        hf_model=copy,
    )
    bridge.enable_compatibility_mode(disable_warnings=True)
    return bridge


@torch.inference_mode()
def _check_function(checkpoint: RawModel, bridge: Any, n_real_tokens: int) -> None:
    """Same log-probabilities, same pre and post, on a batch of random tokens."""
    generator = torch.Generator().manual_seed(0)
    length = min(CHECK_LENGTH, checkpoint.n_ctx)
    device = next(checkpoint.model.parameters()).device
    tokens = torch.randint(n_real_tokens, (CHECK_ROWS, length), generator=generator).to(device)
    seen: dict[str, Tensor] = {}

    def keep(activation: Tensor, hook: Any) -> Tensor:
        seen[hook.name] = activation.detach()
        return activation

    names = [f"blocks.{layer}.mlp.hook_{kind}" for layer in range(checkpoint.n_layers) for kind in ("pre", "post")]
    with quiet():
        logits = bridge.run_with_hooks(tokens, fwd_hooks=[(name, keep) for name in names])
    raw = checkpoint.model(tokens).logits
    difference = (raw.log_softmax(-1) - logits.log_softmax(-1)).abs().max().item()
    if not difference < LOG_PROBABILITY_TOLERANCE:
        raise InputError(
            f"after weight processing the log-probabilities of {checkpoint.source} differ by {difference:.1e} from the raw "
            f"model's, and {LOG_PROBABILITY_TOLERANCE} is allowed; this checkpoint cannot be used."
        )
    for layer, activations in enumerate(checkpoint.mlp_activations(tokens)):
        for kind, values in zip(("pre", "post"), activations, strict=True):
            other = seen[f"blocks.{layer}.mlp.hook_{kind}"].reshape(values.shape)
            scale = values.abs().max().clamp_min(1)
            if not (values - other).abs().max() <= LOG_PROBABILITY_TOLERANCE * scale:
                raise InputError(
                    f"hook_{kind} of layer {layer} of {checkpoint.source} differs from the processed model's; this checkpoint "
                    "cannot be used."
                )


def _check_invariants(checkpoint: RawModel, weights: ProcessedWeights, b_v: Tensor) -> None:
    """Means over d of every read and write, and both means of the unembedding, are zero; value biases are gone."""
    w_in, w_out, w_u = weights.W_in.double(), weights.W_out.double(), weights.W_U.double()
    means = {
        "W_in over d_model": (w_in.mean(1), w_in),
        "W_out over d_model": (w_out.mean(2), w_out),
        "W_U over d_model": (w_u.mean(0), w_u),
        "W_U over tokens": (w_u.mean(1), w_u),
        **{name: (getattr(weights, name).double().mean(2), getattr(weights, name).double()) for name in ("W_Q", "W_K", "W_V")},
        "W_O over d_model": (weights.W_O.double().mean(3), weights.W_O.double()),
        "b_V": (b_v.double(), torch.ones(1)),
    }
    for name, (mean, matrix) in means.items():
        off = (mean.abs().max() / matrix.abs().max().clamp_min(1e-30)).item()
        if not off <= INVARIANT_TOLERANCE:
            raise InputError(
                f"weight processing left {name} of {checkpoint.source} off zero by {off:.1e} of its largest entry; this "
                "checkpoint cannot be used."
            )
