"""Models whose neurons are held, and every number by hooks on the raw model in float64."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.roles.intervention import Intervention
from ingest.roles.prediction_metrics import METRICS, InterventionResults, next_token_mask
from tests.decoders import apply_sign_rule, tiny_decoder
from tests.factories import load_raw, tiny_gpt2, tiny_neox, tiny_opt

CPU = torch.device("cpu")

BOS, PAD, NEWLINE = 0, 5, 7
ROWS, CONTEXT = 9, 16
FP32 = 4e-6
"""By which fp32 logits may be off: within it, ranks are tied."""
VALUES = (-0.17, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)

FAMILIES: dict[str, tuple[Callable[..., Path], dict[str, Any]]] = {
    "gpt2": (tiny_gpt2, {"n_layers": 3, "scale_attn_by_inverse_layer_idx": True}),
    "neox": (tiny_neox, {"n_layers": 3}),
    "neox-serial": (tiny_neox, {"use_parallel_residual": False}),
    "opt": (tiny_opt, {"n_layers": 3}),
    "llama": (partial(tiny_decoder, "llama"), {"num_hidden_layers": 3}),
    "phi": (partial(tiny_decoder, "phi"), {"num_hidden_layers": 3}),
}

PLACES = {
    "gpt2": ("transformer.h.{}.mlp.act", "transformer.ln_f"),
    "gpt_neox": ("gpt_neox.layers.{}.mlp.act", "gpt_neox.final_layer_norm"),
    "opt": ("model.decoder.layers.{}.activation_fn", "model.decoder.final_layer_norm"),
    "llama": ("model.layers.{}.mlp.act_fn", "model.norm"),
    "phi": ("model.layers.{}.mlp.activation_fn", "model.final_layernorm"),
}


OUTPUTS = {
    "gpt2": "transformer.h.{}.mlp.c_proj",
    "gpt_neox": "gpt_neox.layers.{}.mlp.dense_4h_to_h",
    "opt": "model.decoder.layers.{}.fc2",
    "llama": "model.layers.{}.mlp.down_proj",
    "phi": "model.layers.{}.mlp.fc2",
}
"""What writes post into the residual stream."""


def some_tokens(d_vocab: int, seed: int = 0) -> np.ndarray:
    """Rows that begin with BOS and hold every special id, a newline, and ids that no tokenizer has."""
    tokens = np.random.default_rng(seed).integers(1, d_vocab, (ROWS, CONTEXT)).astype(np.int32)
    tokens[:, 0] = BOS
    tokens[1, 4], tokens[2, 5], tokens[3, 6], tokens[4, 7] = BOS, PAD, NEWLINE, d_vocab - 1
    return tokens


class Family:
    """A checkpoint as the catalog opens it, and the same model in float64 as transformers has it."""

    def __init__(self, name: str, folder: Path) -> None:
        make, options = FAMILIES[name]
        path = make(folder / name, **options)
        self.checkpoint: Checkpoint = open_checkpoint(parse_model_argument(str(path)), CPU)
        self.raw: nn.Module = load_raw(path).double()
        if self.checkpoint.architecture == "llama":
            apply_sign_rule(self.raw)
        self.tokens = some_tokens(self.checkpoint.d_vocab)
        self.nominal: dict[str, np.ndarray] = self.by_definition(None)
        self.known: dict[Intervention, dict[str, np.ndarray]] = {}

    def expected(self, intervention: Intervention) -> dict[str, np.ndarray]:
        """`by_definition`, of which much is asked for by several tests."""
        if intervention not in self.known:
            self.known[intervention] = self.by_definition(intervention)
        return self.known[intervention]

    @torch.no_grad()
    def by_definition(self, intervention: Intervention | None) -> dict[str, np.ndarray]:
        """Every metric of every kept token, (tokens,) float64, by SPEC §8.3; also the lowest and highest rank within ties."""
        tokens = self.tokens
        nonlinearity, norm_name = PLACES[self.checkpoint.architecture]
        norm_inputs: list[Tensor] = []
        norm = self.raw.get_submodule(norm_name)
        handles = [norm.register_forward_hook(lambda module, inputs, output: norm_inputs.append(inputs[0]))]
        for layer, index in intervention.neurons if intervention else ():
            module = self.raw.get_submodule(nonlinearity.format(layer))
            if intervention.along is not None:
                handles += self._writing_along(intervention)
                continue
            handles.append(module.register_forward_pre_hook(changing_pre(intervention, index)))
            out = self.raw.get_submodule(OUTPUTS[self.checkpoint.architecture].format(layer))
            handles.append(out.register_forward_pre_hook(changing_post(intervention, index)))
        logits = self.raw(torch.from_numpy(tokens).long()).logits
        for handle in handles:
            handle.remove()
        kept = next_token_mask(tokens, (BOS, PAD))
        rows, positions = kept.nonzero()
        z = logits.numpy()[rows, positions]
        x = norm_inputs[0].reshape(*tokens.shape, -1).numpy()[rows, positions]
        following = tokens[rows, positions + 1]
        log_p = z - z.max(1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
        true = z[np.arange(len(z)), following][:, None]
        found = {
            "scale": np.sqrt((self._seen_by_norms(x) ** 2).mean(1) + self._epsilon(norm)),
            "entropy": -(np.exp(log_p) * log_p).sum(1),
            "loss": -log_p[np.arange(len(z)), following],
            "rank": (z > true).sum(1),
            "recip_rank": 1 / ((z > true).sum(1) + 1),
            "logit_var": z.var(1),
            "log_p": log_p,
            "lowest_rank": (z > true + FP32).sum(1),
            "highest_rank": (z > true - FP32).sum(1) - 1,
        }
        nominal_log_p = log_p if intervention is None else self.nominal["log_p"]
        return found | {"kl": (np.exp(nominal_log_p) * (nominal_log_p - log_p)).sum(1)}


    def _seen_by_norms(self, residual: Any) -> Any:
        return residual if self.checkpoint.architecture == "llama" else residual - residual.mean(-1)[..., None]

    def _epsilon(self, norm: Any) -> float:
        return norm.variance_epsilon if self.checkpoint.architecture == "llama" else norm.eps

    def _writing_along(self, intervention: Intervention) -> list[Any]:
        """What the change of a neuron's post writes, along another one's output weights and as long as along its own."""
        ((layer, index),) = intervention.neurons
        out: Any = self.raw.get_submodule(OUTPUTS[self.checkpoint.architecture].format(layer))
        w_out = self._seen_by_norms(out.weight.detach() if self.checkpoint.architecture == "gpt2" else out.weight.detach().T)
        along = w_out[intervention.along] * w_out[index].norm() / w_out[intervention.along].norm()
        changes: list[Tensor] = []

        def see(module: nn.Module, inputs: tuple[Tensor]) -> None:
            changes.append(changing_post(intervention, index)(module, inputs)[0][..., index] - inputs[0][..., index])

        def write(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            return output + (changes[-1][..., None] * along).view_as(output)

        return [out.register_forward_pre_hook(see), out.register_forward_hook(write)]


def changing_pre(intervention: Intervention, index: int) -> Callable[..., Any]:
    def hook(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        pre = inputs[0].clone()
        if intervention.change == "zero":
            pre[..., index] = 0
        elif intervention.change == "threshold":
            pre[..., index] = torch.minimum(pre[..., index], torch.tensor(intervention.value, dtype=pre.dtype))
        elif intervention.change == "relu":
            pre[..., index] = torch.maximum(pre[..., index], torch.tensor(0.0, dtype=pre.dtype))
        return (pre,)

    return hook


def changing_post(intervention: Intervention, index: int) -> Callable[..., Any]:
    def hook(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        post = inputs[0].clone()
        if intervention.change == "fix":
            post[..., index] = intervention.value
        elif intervention.change == "multiply":
            post[..., index] *= intervention.value
        return (post,)

    return hook


def assert_close(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    assert abs(found - expected) <= 1e-5 * max(1.0, abs(expected)), f"{what}: {found} is not {expected}"


def assert_by_definition(
    family: Family, interventions: list[Intervention], results: InterventionResults, step: int = 1
) -> None:
    """Of every second, third ... position that counts, where `step` is 2, 3 ..."""
    nominal = {name: values[::step] for name, values in family.nominal.items()}
    n = len(nominal["loss"])
    assert results.n_tokens == n
    for i, intervention in enumerate(interventions):
        expected = {name: values[::step] for name, values in family.expected(intervention).items()}
        for metric, name in enumerate(METRICS):
            what = f"{name} of {intervention}"
            delta = expected[name] - nominal[name]
            if name in ("rank", "recip_rank"):
                assert_within_ties(name, expected, results.mean[i, metric], what)
                if is_tied(expected) or is_tied(nominal):
                    continue
            assert_close(results.nominal[metric], nominal[name].mean(), what)
            assert_close(results.mean[i, metric], expected[name].mean(), what)
            assert_close(results.delta[i, metric], delta.mean(), what)
            assert_close(results.se[i, metric], delta.std(ddof=1) / np.sqrt(n), what)


def is_tied(tokens: dict[str, np.ndarray]) -> bool:
    """Whether rounding to fp32 may change a rank."""
    return bool((tokens["lowest_rank"] != tokens["highest_rank"]).any())


def assert_within_ties(name: str, tokens: dict[str, np.ndarray], found: float, what: str) -> None:
    low, high = tokens["lowest_rank"], tokens["highest_rank"]
    if name == "recip_rank":
        low, high = 1 / (high + 1), 1 / (low + 1)
    assert low.mean() - 1e-9 <= found <= high.mean() + 1e-9, what
