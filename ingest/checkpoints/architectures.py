"""Where each architecture keeps the modules that the catalog looks at; nothing here reads files or knows a database.

What architectures there are is asked before torch is imported, so only what is called imports it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

LAYERS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers", "opt": "model.decoder.layers"}
"""Where each architecture keeps its blocks."""
NONLINEARITY = {"gpt2": "mlp.act", "gpt_neox": "mlp.act", "opt": "activation_fn"}
"""The module of a block whose input is pre and whose output is post."""
MLP_NORM = {"gpt2": "ln_2", "gpt_neox": "post_attention_layernorm", "opt": "final_layer_norm"}
"""The module of a block that normalises what the MLP reads, and nothing else reads."""
INPUT = {"gpt2": "mlp.c_fc", "gpt_neox": "mlp.dense_h_to_4h", "opt": "fc1"}
"""The module of a block that takes what the MLP reads to pre."""
OUTPUT = {"gpt2": "mlp.c_proj", "gpt_neox": "mlp.dense_4h_to_h", "opt": "fc2"}
"""The module of a block that takes post back to the residual stream."""
ATTENTION_NORM = {"gpt2": "ln_1", "gpt_neox": "input_layernorm", "opt": "self_attn_layer_norm"}
"""The module of a block whose input is the residual that enters attention."""
FINAL_NORM = {"gpt2": "transformer.ln_f", "gpt_neox": "gpt_neox.final_layer_norm", "opt": "model.decoder.final_layer_norm"}
"""The module between the last block and the unembedding."""


def blocks(model: "nn.Module", architecture: str) -> "list[nn.Module]":
    """The blocks, in order."""
    return list(model.get_submodule(LAYERS[architecture]).children())


def nonlinearities(model: "nn.Module", architecture: str) -> "list[nn.Module]":
    """The activation modules of all blocks, in order."""
    return [block.get_submodule(NONLINEARITY[architecture]) for block in blocks(model, architecture)]


def final_norm(model: "nn.Module", architecture: str) -> "nn.LayerNorm":
    """The layer norm before the unembedding.

    Raises:
        ValueError: the model has another norm there, or none; the sentence says what is defined nonetheless.
    """
    from torch import nn

    parent, _, name = FINAL_NORM[architecture].rpartition(".")
    module = getattr(model.get_submodule(parent), name)
    if not isinstance(module, nn.LayerNorm):
        kind = "no module" if module is None else f"a {type(module).__name__}"
        raise ValueError(
            f"the final norm of this model is {kind}, not a LayerNorm: entropy, loss, rank and KL of an intervention are "
            "defined for it, a centred scale and the formula for final-layer neurons are not."
        )
    return module
