"""Small random checkpoints of every architecture that is described, made from transformers' own configurations."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from tests.factories import UNUSED_IDS, byte_bpe_tokenizer, randomise, save_checkpoint

N_LAYERS, D_MODEL, D_MLP, N_HEADS, N_CTX = 2, 16, 24, 4, 32
_NAMES = {"hidden_size": D_MODEL, "num_hidden_layers": N_LAYERS, "num_attention_heads": N_HEADS, "intermediate_size": D_MLP}
_USUAL = {**_NAMES, "max_position_embeddings": N_CTX}
_SHORT = {"n_embd": D_MODEL, "n_layer": N_LAYERS, "n_head": N_HEADS, "n_inner": D_MLP, "n_positions": N_CTX}
_GROUPED = {**_USUAL, "num_key_value_heads": 2}
# as wide as the residual is not: heads may be of any width
_GEMMA = {**_GROUPED, "head_dim": 6, "query_pre_attn_scalar": 5, "sliding_window": 8}

CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": _SHORT,
    "gpt_neo": {
        "hidden_size": D_MODEL, "num_layers": N_LAYERS, "num_heads": N_HEADS, "intermediate_size": D_MLP,
        "max_position_embeddings": N_CTX, "attention_types": [[["global", "local"], 1]], "window_size": 8,
    },
    "gptj": {**_SHORT, "rotary_dim": 2},
    "gpt_neox": _USUAL,
    "opt": {
        "hidden_size": D_MODEL, "num_hidden_layers": N_LAYERS, "num_attention_heads": N_HEADS, "ffn_dim": D_MLP,
        "max_position_embeddings": N_CTX, "word_embed_proj_dim": D_MODEL, "pad_token_id": None,
    },
    "phi": _USUAL,
    "llama": {**_GROUPED, "attention_bias": True, "mlp_bias": True},
    "mistral": {**_GROUPED, "sliding_window": None},
    "qwen2": _GROUPED,
    "qwen3": {**_GROUPED, "head_dim": 6, "attention_bias": True},
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "olmo": _GROUPED,
    "olmo2": _GROUPED,
}  # fmt: skip
"""By architecture."""


def tiny_decoder(
    architecture: str, folder: Path, seed: int = 0, tokenizer: PreTrainedTokenizerFast | None = None, **config: Any
) -> Path:
    """A random model in `folder`, every bias and gain random; `config` goes to its configuration."""
    tokenizer = tokenizer or byte_bpe_tokenizer()
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    settings = {**CONFIGS[architecture], "vocab_size": len(tokenizer) + UNUSED_IDS, **ids, **config}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **settings)).eval()
    randomise(model, seed)
    save_checkpoint(model, tokenizer, folder)
    return folder


@torch.no_grad()
def apply_sign_rule(raw: Any) -> None:
    """Gated neurons of a Llama have the sign of gate·in, the gains of the norm folded in."""
    for block in raw.model.layers:
        mlp, gain = block.mlp, block.post_attention_layernorm.weight
        signs = torch.where((mlp.gate_proj.weight * gain * mlp.up_proj.weight * gain).sum(1) < 0, -1.0, 1.0)
        for parameter in (mlp.up_proj.weight, mlp.up_proj.bias, mlp.down_proj.weight.T):
            parameter.mul_(signs if parameter.ndim == 1 else signs[:, None])
