"""Weight processing of a loaded model, and the proof that it kept the function (SPEC §0.2)."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from catalog.errors import InputError
from ingest.checkpoints.architectures import Architecture
from ingest.checkpoints.attention_matrices import turning_halves
from ingest.checkpoints.folding import Folded, FoldedBlock, fold, put_into
from ingest.checkpoints.modules import Modules, Watch

INVARIANT_TOLERANCE = 1e-5
"""Largest mean, relative to the largest weight of the matrix, that counts as zero in fp32."""
LOG_PROBABILITY_TOLERANCE = 1e-4
CHECK_ROWS, CHECK_LENGTH = 2, 32


class RawModel(Protocol):
    """What processing asks of a checkpoint: the model as the file has it, and its activations."""

    source: str
    architecture: str
    n_layers: int
    n_heads: int
    d_head: int
    n_ctx: int
    model: Any

    @property
    def config(self) -> Any: ...
    @property
    def modules(self) -> Modules: ...


@dataclass(frozen=True)
class ProcessedWeights:
    """The matrices that the catalog needs, fp32, named as TransformerLens has them; value biases are folded into b_O.

    Keys and values that serve several heads are repeated, one for each; dimensions of queries and keys that turn are in the
    order of halves.
    """

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
    W_gate: Float[Tensor, "layers d_model d_mlp"] | None = None
    """Of gated neurons."""
    b_gate: Float[Tensor, "layers d_mlp"] | None = None


def processed_weights(checkpoint: RawModel, n_real_tokens: int) -> ProcessedWeights:
    """Fold, centre, check, and copy what is needed.

    Raises:
        InputError: an invariant of §0.2 fails, or log-probabilities or activations differ from the raw model's.
    """
    folded = fold(checkpoint.modules, checkpoint.d_head, caps_logits(checkpoint.config))
    _check_function(checkpoint, folded, n_real_tokens)
    weights = _weights(checkpoint, folded)
    _check_invariants(checkpoint, weights)
    return weights


def processing_of(architecture: Architecture, capped: bool) -> str:
    """What is done to the weights of such a model, in the words of TransformerLens where it has them."""
    return ", ".join(
        name
        for name, done in {
            "fold_ln": True,
            "center_writing_weights": architecture.centred and not architecture.written_norms,
            "center_unembed": not capped,
            "fold_value_biases": True,
            "sign rule of gated neurons": architecture.gate is not None,
        }.items()
        if done
    )


def caps_logits(config: Any) -> bool:
    """Whether a model of this configuration bounds logits after the unembedding."""
    return bool(getattr(config, "final_logit_softcapping", None))


def _weights(checkpoint: RawModel, folded: Folded) -> ProcessedWeights:
    def stacked(values: list[Tensor]) -> Tensor:
        return torch.stack(values).float()

    blocks = folded.blocks
    queries, keys = ([_turning(checkpoint, block, kind) for block in blocks] for kind in ("queries", "keys"))
    values = [block.heads["values"].repeated(checkpoint.n_heads) for block in blocks]
    gates = [block.gate for block in blocks if block.gate is not None]
    return ProcessedWeights(
        W_in=stacked([block.input.weight for block in blocks]),
        b_in=stacked([block.input.bias for block in blocks]),
        W_out=stacked([block.output.weight for block in blocks]),
        W_U=folded.unembedding.weight.float(),
        b_U=folded.unembedding.bias.float(),
        W_Q=stacked([heads.weight.transpose(0, 1) for heads in queries]),
        b_Q=stacked([heads.bias for heads in queries]),
        W_K=stacked([heads.weight.transpose(0, 1) for heads in keys]),
        b_K=stacked([heads.bias for heads in keys]),
        W_V=stacked([heads.weight.transpose(0, 1) for heads in values]),
        W_O=stacked([block.attention_output.weight.unflatten(0, (checkpoint.n_heads, -1)) for block in blocks]),
        W_gate=stacked([gate.weight for gate in gates]) if gates else None,
        b_gate=stacked([gate.bias for gate in gates]) if gates else None,
    )


def _turning(checkpoint: RawModel, block: FoldedBlock, kind: str) -> Any:
    heads = block.heads[kind].repeated(checkpoint.n_heads)
    if checkpoint.modules.architecture.rotary != "pairs":
        return heads
    return turning_halves(heads, checkpoint.model.config.rotary_dim or checkpoint.d_head)


@torch.inference_mode()
def _check_function(checkpoint: RawModel, folded: Folded, n_real_tokens: int) -> None:
    """Same log-probabilities, same pre and post, on a batch of random tokens."""
    generator = torch.Generator().manual_seed(0)
    length = min(CHECK_LENGTH, checkpoint.n_ctx)
    device = next(checkpoint.model.parameters()).device
    tokens = torch.randint(n_real_tokens, (CHECK_ROWS, length), generator=generator).to(device)
    copy = deepcopy(checkpoint.model)
    put_into(copy, checkpoint.architecture, folded)
    raw, seen = _seen(checkpoint.model, checkpoint.architecture, tokens)
    logits, others = _seen(copy, checkpoint.architecture, tokens)
    difference = (raw.log_softmax(-1) - logits.log_softmax(-1)).abs().max().item()
    if not difference < LOG_PROBABILITY_TOLERANCE:
        raise InputError(
            f"after weight processing the log-probabilities of {checkpoint.source} differ by {difference:.1e} from the raw "
            f"model's, and {LOG_PROBABILITY_TOLERANCE} is allowed; this checkpoint cannot be used."
        )
    for (layer, kind), values in seen.items():
        scale = values.abs().max().clamp_min(1)
        if not (values - others[layer, kind]).abs().max() <= LOG_PROBABILITY_TOLERANCE * scale:
            raise InputError(
                f"{kind} of layer {layer} of {checkpoint.source} differs from the processed model's; this checkpoint cannot be "
                "used."
            )


def _seen(model: Any, architecture: str, tokens: Tensor) -> tuple[Tensor, dict[tuple[int, str], Tensor]]:
    """Logits, and pre and post of every layer."""
    seen: dict[tuple[int, str], Tensor] = {}

    def keep(layer: int) -> Watch:
        return lambda shown: seen.update({(layer, "pre"): shown.pre, (layer, "post"): shown.post})

    modules = Modules(model, architecture)
    with modules.watched({layer: keep(layer) for layer in range(len(modules.blocks))}):
        return model(tokens, use_cache=False).logits, seen


def _check_invariants(checkpoint: RawModel, weights: ProcessedWeights) -> None:
    """Means over d of every read and write, and both means of the unembedding, are zero, where that is taken away."""
    architecture = checkpoint.modules.architecture
    reads = {"W_in": 1, "W_gate": 1, "W_Q": 2, "W_K": 2, "W_V": 2, "W_U": 0}
    writes = {} if architecture.written_norms else {"W_out": 2, "W_O": 3}
    means = {}
    if architecture.centred:
        held = {name: (getattr(weights, name), dim) for name, dim in {**reads, **writes}.items()}
        means = {f"{name} over d_model": (matrix, dim) for name, (matrix, dim) in held.items() if matrix is not None}
    if not caps_logits(checkpoint.config):
        means["W_U over tokens"] = (weights.W_U, 1)
    for name, (matrix, dim) in means.items():
        off = (matrix.double().mean(dim).abs().max() / matrix.abs().max().clamp_min(1e-30)).item()
        if not off <= INVARIANT_TOLERANCE:
            raise InputError(
                f"weight processing left {name} of {checkpoint.source} off zero by {off:.1e} of its largest entry; this "
                "checkpoint cannot be used."
            )
