"""A forward pass that begins after a block ends where the whole one does, whatever the layers after it see."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.roles.later_layers import forward, forward_after
from tests.decoders import CONFIGS, tiny_decoder

N_LAYERS, CONTEXT = 4, 20
WINDOWS: dict[str, Any] = {
    "use_sliding_window": True, "sliding_window": 3,
    "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
}  # fmt: skip
LAYERS = {
    **{name: {"n_layer": N_LAYERS} for name in ("gpt2", "gptj")},
    "gpt_neo": {"num_layers": N_LAYERS, "attention_types": [[["global", "local"], 2]]},
    **{name: {"num_hidden_layers": N_LAYERS, **WINDOWS} for name in ("qwen2", "qwen3", "gemma2", "gemma3_text")},
}


@torch.inference_mode()
@pytest.mark.parametrize("name", CONFIGS)
def test_a_pass_from_any_block_on_is_the_end_of_the_whole_one(name: str, tmp_path: Path) -> None:
    path = tiny_decoder(name, tmp_path / name, **LAYERS.get(name, {"num_hidden_layers": N_LAYERS}))
    model = open_checkpoint(parse_model_argument(str(path)), torch.device("cpu"))
    tokens = torch.randint(model.d_vocab, (2, CONTEXT), generator=torch.Generator().manual_seed(1))
    seen = forward(model, tokens, {}, range(N_LAYERS - 1))
    kinds = getattr(model.config, "layer_types", None)
    for layer, residual in seen.after.items():
        last, normed = forward_after(model, layer, residual, {})
        torch.testing.assert_close(last, seen.last, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(normed, seen.normed, atol=1e-5, rtol=1e-5)
    assert model.n_layers == len(model.modules.blocks) == N_LAYERS and getattr(model.config, "layer_types", None) == kinds
