"""What the catalog knows of each architecture: where a model keeps its parts, and how they are put together.

Checkpoints, the folding of weights and the roles of neurons read the same descriptions; a new architecture is one more of
them. Nothing here reads files or knows a database, and nothing imports torch: what there is is asked before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

NormKind = Literal["layer", "rms", "rms with 1 + gain"]
"""A layer norm takes the mean away and divides by the standard deviation; RMSNorm divides by the root of the mean square. Gains
and biases may be there or not; of the last kind 1 is added to what the file has."""


@dataclass(frozen=True)
class Architecture:
    """Paths of modules are from a block, but for those of `blocks` and `final_norm`, which are from the model."""

    blocks: str
    final_norm: str
    activation: str
    """Its input is pre."""
    input: str
    """Takes what the MLP reads to pre; of gated neurons, to what the gate multiplies."""
    output: str
    """Takes post back to the residual stream."""
    attention_norm: str | None
    """Of what attention reads; None: nothing is between it and the residual."""
    mlp_norm: str | None
    """Of what the MLP reads; parallel blocks may have one for both."""
    queries: str
    keys: str
    values: str
    attention_output: str
    reads: Mapping[str, str]
    """What its forward pass reads of a configuration (`ingest.checkpoints.behaviour`)."""
    gate: str | None = None
    """Takes what the MLP reads to pre of gated neurons: post = act(gate) * input."""
    norm: NormKind = "layer"
    written_norms: tuple[str, ...] = ()
    """Norms between what attention or the MLP gives and the residual stream."""
    query_norm: str | None = None
    """Of queries; keys have one, too."""
    fused: Literal["thirds", "by head"] | None = None
    """How queries, keys and values stand in one matrix, if they do."""
    rotary: Literal["halves", "pairs"] | None = None
    """Which dimensions of a head turn together: i and i + half, or neighbours; None: positions are embedded."""

    @property
    def centred(self) -> bool:
        """Whether every reader of the residual stream takes its mean away."""
        return self.norm == "layer"


_EVERYWHERE = {
    "n_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "d_vocab": "vocab_size",
    "n_ctx": "max_position_embeddings",
    "causal": "is_causal",
}
_GATED = {
    **_EVERYWHERE,
    "d_mlp": "intermediate_size",
    "activation_function": "hidden_act",
    "rms_norm_eps": "rms_norm_eps",
    "n_key_value_heads": "num_key_value_heads",
    "d_head": "head_dim",
    "rotary": "rope_parameters",
}
_WINDOWS = {"window": "sliding_window", "attention_by_layer": "layer_types"}
_GEMMA = {
    **_GATED,
    **_WINDOWS,
    "activation_function": "hidden_activation",
    "attention_bias": "attention_bias",
    "attention_scale": "query_pre_attn_scalar",
    "attention_cap": "attn_logit_softcapping",
    "logit_cap": "final_logit_softcapping",
    "bidirectional": "use_bidirectional_attention",
}


def _llama(
    reads: Mapping[str, str],
    attention_norm: str | None = "input_layernorm",
    mlp_norm: str | None = "post_attention_layernorm",
    norm: NormKind = "rms",
    written_norms: tuple[str, ...] = (),
    query_norm: str | None = None,
) -> Architecture:
    """One that keeps its parts where Llama does."""
    return Architecture(
        blocks="model.layers",
        final_norm="model.norm",
        activation="mlp.act_fn",
        gate="mlp.gate_proj",
        input="mlp.up_proj",
        output="mlp.down_proj",
        attention_norm=attention_norm,
        mlp_norm=mlp_norm,
        queries="self_attn.q_proj",
        keys="self_attn.k_proj",
        values="self_attn.v_proj",
        attention_output="self_attn.o_proj",
        reads=reads,
        norm=norm,
        written_norms=written_norms,
        query_norm=query_norm,
        rotary="halves",
    )


_GPT2 = Architecture(
    blocks="transformer.h",
    final_norm="transformer.ln_f",
    activation="mlp.act",
    input="mlp.c_fc",
    output="mlp.c_proj",
    attention_norm="ln_1",
    mlp_norm="ln_2",
    queries="attn.c_attn",
    keys="attn.c_attn",
    values="attn.c_attn",
    attention_output="attn.c_proj",
    fused="thirds",
    reads={
        **_EVERYWHERE,
        "d_mlp": "n_inner",
        "activation_function": "activation_function",
        "layer_norm_eps": "layer_norm_epsilon",
        "scale_attention": "scale_attn_weights",
        "scale_attention_by_layer": "scale_attn_by_inverse_layer_idx",
        "upcast_attention": "reorder_and_upcast_attn",
        "cross_attention": "add_cross_attention",
    },
)
_GPT_NEO = Architecture(
    blocks="transformer.h",
    final_norm="transformer.ln_f",
    activation="mlp.act",
    input="mlp.c_fc",
    output="mlp.c_proj",
    attention_norm="ln_1",
    mlp_norm="ln_2",
    queries="attn.attention.q_proj",
    keys="attn.attention.k_proj",
    values="attn.attention.v_proj",
    attention_output="attn.attention.out_proj",
    reads={
        **_EVERYWHERE,
        "d_mlp": "intermediate_size",
        "activation_function": "activation_function",
        "layer_norm_eps": "layer_norm_epsilon",
        "attention_by_layer": "attention_layers",
        "window": "window_size",
    },
)
_GPTJ = Architecture(
    blocks="transformer.h",
    final_norm="transformer.ln_f",
    activation="mlp.act",
    input="mlp.fc_in",
    output="mlp.fc_out",
    attention_norm="ln_1",
    mlp_norm="ln_1",
    queries="attn.q_proj",
    keys="attn.k_proj",
    values="attn.v_proj",
    attention_output="attn.out_proj",
    rotary="pairs",
    reads={
        **_EVERYWHERE,
        "d_mlp": "n_inner",
        "activation_function": "activation_function",
        "layer_norm_eps": "layer_norm_epsilon",
        "rotary_dimensions": "rotary_dim",
    },
)
_GPT_NEOX = Architecture(
    blocks="gpt_neox.layers",
    final_norm="gpt_neox.final_layer_norm",
    activation="mlp.act",
    input="mlp.dense_h_to_4h",
    output="mlp.dense_4h_to_h",
    attention_norm="input_layernorm",
    mlp_norm="post_attention_layernorm",
    queries="attention.query_key_value",
    keys="attention.query_key_value",
    values="attention.query_key_value",
    attention_output="attention.dense",
    fused="by head",
    rotary="halves",
    reads={
        **_EVERYWHERE,
        "d_mlp": "intermediate_size",
        "activation_function": "hidden_act",
        "layer_norm_eps": "layer_norm_eps",
        "parallel_residual": "use_parallel_residual",
        "attention_bias": "attention_bias",
        "rotary": "rope_parameters",
        "d_rotary_head": "head_dim",
    },
)
_OPT = Architecture(
    blocks="model.decoder.layers",
    final_norm="model.decoder.final_layer_norm",
    activation="activation_fn",
    input="fc1",
    output="fc2",
    attention_norm="self_attn_layer_norm",
    mlp_norm="final_layer_norm",
    queries="self_attn.q_proj",
    keys="self_attn.k_proj",
    values="self_attn.v_proj",
    attention_output="self_attn.out_proj",
    reads={
        **_EVERYWHERE,
        "d_mlp": "ffn_dim",
        "activation_function": "activation_function",
        "norm_before": "do_layer_norm_before",
        "no_final_norm": "_remove_final_layer_norm",
        "norm_affine": "layer_norm_elementwise_affine",
        "bias": "enable_bias",
        "d_embedding": "word_embed_proj_dim",
    },
)
_PHI = Architecture(
    blocks="model.layers",
    final_norm="model.final_layernorm",
    activation="mlp.activation_fn",
    input="mlp.fc1",
    output="mlp.fc2",
    attention_norm="input_layernorm",
    mlp_norm="input_layernorm",
    queries="self_attn.q_proj",
    keys="self_attn.k_proj",
    values="self_attn.v_proj",
    attention_output="self_attn.dense",
    rotary="halves",
    reads={
        **_EVERYWHERE,
        "d_mlp": "intermediate_size",
        "activation_function": "hidden_act",
        "layer_norm_eps": "layer_norm_eps",
        "n_key_value_heads": "num_key_value_heads",
        "rotary": "rope_parameters",
        "query_norm": "qk_layernorm",
    },
)
_AROUND = ("post_attention_layernorm", "post_feedforward_layernorm")

ARCHITECTURES: dict[str, Architecture] = {
    "gpt2": _GPT2,
    "gpt_neo": _GPT_NEO,
    "gptj": _GPTJ,
    "gpt_neox": _GPT_NEOX,
    "opt": _OPT,
    "phi": _PHI,
    "llama": _llama({**_GATED, "attention_bias": "attention_bias", "mlp_bias": "mlp_bias"}),
    "mistral": _llama({**_GATED, "window": "sliding_window"}),
    "qwen2": _llama({**_GATED, **_WINDOWS}),
    "qwen3": _llama({**_GATED, **_WINDOWS, "attention_bias": "attention_bias"}, query_norm="self_attn.q_norm"),
    "gemma2": _llama(_GEMMA, mlp_norm="pre_feedforward_layernorm", norm="rms with 1 + gain", written_norms=_AROUND),
    "gemma3_text": _llama(
        _GEMMA, mlp_norm="pre_feedforward_layernorm", norm="rms with 1 + gain", written_norms=_AROUND,
        query_norm="self_attn.q_norm",
    ),
    "olmo": _llama({**_GATED, "attention_bias": "attention_bias", "clip": "clip_qkv"}, norm="layer"),
    "olmo2": _llama(
        {**_GATED, "attention_bias": "attention_bias"}, attention_norm=None, mlp_norm=None, written_norms=_AROUND,
        query_norm="self_attn.q_norm",
    ),
}  # fmt: skip
"""By `model_type` of a configuration."""
