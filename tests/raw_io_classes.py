"""Reading-and-writing classes straight from raw Hugging Face weights in float64, by code that imports nothing of the catalog.

    python tests/raw_io_classes.py NAME=FOLDER [NAME=FILE.gguf …]

prints how many neurons of each class a model has, and beside them the published totals of a model of that name
(`published_io_classes.csv`); it ends with 1 where these differ. Tests compare what an ingest stores with what is found here.
"""

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

PUBLISHED = Path(__file__).with_name("published_io_classes.csv")
LEAST = 0.5

_LLAMA = ("model.layers", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_GEMMA = ("model.layers", "pre_feedforward_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
MLPS: dict[str, tuple[str, str | None, str | None, str, str]] = {
    "gpt2": ("transformer.h", "ln_2", None, "mlp.c_fc", "mlp.c_proj"),
    "gpt_neo": ("transformer.h", "ln_2", None, "mlp.c_fc", "mlp.c_proj"),
    "gptj": ("transformer.h", "ln_1", None, "mlp.fc_in", "mlp.fc_out"),
    "gpt_neox": ("gpt_neox.layers", "post_attention_layernorm", None, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "opt": ("model.decoder.layers", "final_layer_norm", None, "fc1", "fc2"),
    "phi": ("model.layers", "input_layernorm", None, "mlp.fc1", "mlp.fc2"),
    "olmo": _LLAMA,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "olmo2": ("model.layers", None, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
}
"""Of each architecture: blocks, and from a block the norm that the MLP reads, gate, input and output."""
CENTRED = ("gpt2", "gpt_neo", "gptj", "gpt_neox", "opt", "phi", "olmo")
"""Architectures whose norms take the mean away."""
ONE_MORE = ("gemma2", "gemma3_text")
"""Those whose gain is 1 + what the file has."""

NAMES = {
    (1, 1, 1): "strengthening",
    (1, 1, 0): "atypical strengthening",
    (1, 0, 1): "conditional strengthening",
    (1, 0, 0): "atypical conditional strengthening",
    (0, 1, 1): "proportional change",
    (0, 1, 0): "atypical proportional change",
    (0, 0, 1): "orthogonal",
    (-1, 1, 1): "weakening",
    (-1, 1, 0): "atypical weakening",
    (-1, 0, 1): "conditional weakening",
    (-1, 0, 0): "atypical conditional weakening",
}
"""By (q(c1), |q(c2)|, [q(c3) = q(c1) q(c2)]); the third is 1 where the first two are 0."""


class Neurons(NamedTuple):
    """Weights of the neurons of a layer, a row each, the norm's gain folded in and centred where it centres; float64."""

    gate: Tensor | None
    input: Tensor
    output: Tensor


class Cosines(NamedTuple):
    """Of the neurons of a layer; those of gates are None where there are none."""

    in_out: Tensor
    gate_out: Tensor | None
    gate_in: Tensor | None


def neurons_of(model: Any) -> Iterator[Neurons]:
    """Of each layer."""
    kind = model.config.model_type
    blocks, norm, gate, reads, writes = MLPS[kind]
    for block in model.get_submodule(blocks):
        gain = torch.ones((), dtype=torch.float64)
        if norm is not None and getattr(block.get_submodule(norm), "weight", None) is not None:
            gain = block.get_submodule(norm).weight.detach().double() + (kind in ONE_MORE)

        def reading(name: str, block: Any = block, gain: Tensor = gain) -> Tensor:
            return _centred(_rows(block.get_submodule(name)) * gain, kind)

        output = _centred(_rows(block.get_submodule(writes)).T, kind)
        yield Neurons(None if gate is None else reading(gate), reading(reads), output)


def _rows(linear: Any) -> Tensor:
    """The weights, a row for each output."""
    weight = linear.weight.detach().double()
    return weight.T if type(linear).__name__ == "Conv1D" else weight


def _centred(rows: Tensor, kind: str) -> Tensor:
    return rows - rows.mean(1, keepdim=True) if kind in CENTRED else rows


def cosines_of(neurons: Neurons) -> Cosines:
    """Row by row."""
    gate, reads, writes = neurons
    if gate is None:
        return Cosines(_cosine(reads, writes), None, None)
    return Cosines(_cosine(reads, writes), _cosine(gate, writes), _cosine(gate, reads))


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))


def class_of(c1: float, c2: float | None, c3: float | None, least: float = LEAST) -> str:
    """The class of a neuron; c2 and c3 are None of one without a gate."""
    if c2 is None or c3 is None:
        return {1: "strengthening", 0: "orthogonal", -1: "weakening"}[_large(c1, least)]
    q1, q2, q3 = (_large(c, least) for c in (c1, c2, c3))
    return NAMES[q1, abs(q2), 1 if (q1, q2) == (0, 0) else int(q3 == q1 * q2)]


def _large(c: float, least: float) -> int:
    return int(c > least) - int(c < -least)


def classes_of(model: Any) -> list[list[str]]:
    """Of each neuron of each layer."""
    classes = []
    for neurons in neurons_of(model):
        c1, c2, c3 = (None if values is None else values.tolist() for values in cosines_of(neurons))
        assert c1 is not None
        none = [None] * len(c1)
        classes.append([class_of(*each) for each in zip(c1, c2 or none, c3 or none, strict=True)])
    return classes


def published() -> dict[str, dict[str, str]]:
    """The rows of the table, by model."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def _load(path: Path) -> Any:
    from transformers import AutoModelForCausalLM

    if path.suffix == ".gguf":
        return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    return AutoModelForCausalLM.from_pretrained(path, local_files_only=True)


def main(arguments: list[str]) -> int:
    """Print the classes of models; returns 1 where published totals differ."""
    known, differ = published(), False
    for argument in arguments:
        name, _, path = argument.rpartition("=")
        counts = Counter(of_neuron for layer in classes_of(_load(Path(path))) for of_neuron in layer)
        sys.stdout.write(f"{name or path}: {counts.total():,} neurons\n")
        for of_class in NAMES.values():
            said = known.get(name, {}).get(of_class, "")
            sys.stdout.write(f"  {of_class:36} {counts[of_class]:8}  {said and f'published: {said}'}".rstrip() + "\n")
            differ |= bool(said) and int(said) != counts[of_class]
    return int(differ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
