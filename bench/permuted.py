"""Whether every neuron of a model finds itself in a copy of it, whose neurons stand elsewhere and have other signs.

    python -m bench.permuted MODEL [--max-tokens 20000] [--corpus FILE]

The copy has the neurons of each layer permuted (gate, input and output weights alike) and about half of the gated ones negated
where they read and where they write, so that it computes what the model does. Both are ingested; by SQL the best match of every
neuron that is not constant has to be its own place in the copy, with |correlation| > 0.9999 and the mutual flag. Where the sign
rule has nothing to go by, |cos(gate, in)| < 0.001, the sign stays arbitrary and is not judged: such a neuron may be itself with
the other sign, which is no match, but has its frequency, its variance and the opposite of its mean. Exits with 1 where a neuron
is not itself.
"""

import argparse
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from sqlalchemy import Engine
from torch import Tensor

from bench import POCKET_CORPUS
from bench.trust.place import ingested, own_catalog, rows
from cli.markdown import table
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.checkpoints.folding import reading
from ingest.checkpoints.modules import Linear, Modules

LEAST_CORRELATION = 0.9999
ARBITRARY = 1e-3
"""|cos(gate, in)| below which the sign of a gated neuron is not judged."""
NEAR = 1e-3
"""How near moments are to each other that are the same but for rounding: in standard deviations, and relative."""
ORIGINAL, COPY = "original", "permuted"
KINDS = ("constant", "found itself", "itself with the other sign", "not itself")

# The best partner of each neuron, its correlation with that, and whether it is that neuron's own best.
_MATCHES = """
SELECT n.layer, n."index" AS neuron, a.degenerate, a.sparsity, a.post_mean, a.post_var, p.correlation,
       o.layer AS other_layer, o."index" AS other_neuron, COALESCE(p.mutual_best, false) AS mutual_best
  FROM neurons n
  JOIN models m ON m.id = n.model_id AND m.name = :model
  JOIN activation_statistics a ON a.neuron_id = n.id AND a.run_id = :run
  LEFT JOIN pairs p ON p.run_id = :run AND p.neuron_id = n.id AND p.rank = 1
  LEFT JOIN neurons o ON o.id = p.other_neuron_id
 ORDER BY n.layer, n."index" """


def permuted(checkpoint: Checkpoint, folder: Path, seed: int) -> Int[np.ndarray, "layers d_mlp"]:
    """Write the copy; `checkpoint` becomes it.

    Returns:
        Neuron n of the copy is neuron result[layer, n] of the model.
    """
    generator = torch.Generator().manual_seed(seed)
    modules, orders = checkpoint.modules, []
    for layer in range(checkpoint.n_layers):
        order = torch.randperm(checkpoint.d_mlp, generator=generator)
        signs = torch.ones(checkpoint.d_mlp)
        if checkpoint.is_gated:
            signs = torch.randint(0, 2, (checkpoint.d_mlp,), generator=generator) * 2.0 - 1
        _rearrange(modules, layer, order, signs)
        orders.append(order.numpy())
    model: Any = checkpoint.model
    # a model that was read from blocks is not saved as such: its values are, in a model that never was quantised
    config = deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(model)(config).to(next(model.parameters()).dtype)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
    checkpoint.tokenizer.save_pretrained(folder)
    return np.stack(orders)


def _rearrange(modules: Modules, layer: int, order: Tensor, signs: Tensor) -> None:
    architecture = modules.architecture
    for name, times in ((architecture.gate, torch.ones_like(signs)), (architecture.input, signs)):
        if name is not None:
            weight, bias = modules.linear(layer, name)
            modules.replace(layer, name, Linear(weight[:, order] * times, bias[order] * times))
    weight, bias = modules.linear(layer, architecture.output)
    modules.replace(layer, architecture.output, Linear(weight[order] * signs[:, None], bias))


def arbitrary(checkpoint: Checkpoint) -> np.ndarray:
    """(layers * d_mlp,) bool: the sign rule has nothing to go by."""
    modules, architecture = checkpoint.modules, checkpoint.modules.architecture
    if architecture.gate is None:
        return np.zeros(checkpoint.n_layers * checkpoint.d_mlp, dtype=bool)
    cosines = []
    for layer in range(checkpoint.n_layers):
        names = (architecture.gate, architecture.input)
        gate, read = (reading(modules.linear(layer, name), modules.mlp_norm(layer)).weight for name in names)
        cosines.append(torch.nn.functional.cosine_similarity(gate, read, dim=0))
    return np.asarray((torch.cat(cosines).abs() < ARBITRARY).numpy())


def judged(found: pd.DataFrame, other: pd.DataFrame, expected: np.ndarray, any_sign: np.ndarray) -> pd.DataFrame:
    """The matches of one model, and what each neuron is counted as.

    Args:
        other: the same of the other model; expected: where each neuron is there; any_sign: whose sign is not judged.
    """
    width = found["neuron"].max() + 1
    place = (found["other_layer"] * width + found["other_neuron"]).to_numpy()
    strong = found["correlation"].abs().to_numpy() > LEAST_CORRELATION
    itself = (place == expected) & strong & found["mutual_best"].to_numpy()
    own, there = (frame[["sparsity", "post_mean", "post_var"]].to_numpy() for frame in (found, other.iloc[expected]))
    deviation = np.sqrt(own[:, 2])
    turned = (np.abs(own[:, 0] - there[:, 0]) <= NEAR) & (np.abs(own[:, 1] + there[:, 1]) <= NEAR * deviation)
    turned &= any_sign & (np.abs(own[:, 2] - there[:, 2]) <= NEAR * own[:, 2])
    chosen = [found["degenerate"].to_numpy() & other["degenerate"].to_numpy()[expected], itself, turned]
    return found.assign(counted=np.select(chosen, KINDS[:-1], KINDS[-1]), any_sign=any_sign)


def measure(engine: Engine, run: int, orders: np.ndarray, any_sign: np.ndarray) -> list[pd.DataFrame]:
    """Both directions: from the model to the copy, and back."""
    width = orders.shape[1]
    of_copy = (np.arange(len(orders))[:, None] * width + orders).ravel()  # where each neuron of the copy comes from
    to_copy = np.argsort(of_copy)
    original, copy = (rows(engine, _MATCHES, model=name, run=run) for name in (ORIGINAL, COPY))
    return [judged(original, copy, to_copy, any_sign), judged(copy, original, of_copy, any_sign[of_copy])]


def report(directions: Sequence[pd.DataFrame]) -> list[dict[str, Any]]:
    """A row for each direction."""
    lines = []
    for name, found in zip((f"{ORIGINAL} → {COPY}", f"{COPY} → {ORIGINAL}"), directions, strict=True):
        counts = {kind: int((found["counted"] == kind).sum()) for kind in KINDS}
        least = found.loc[found["counted"] == KINDS[1], "correlation"].abs().min()
        not_judged = {"sign not judged": int(found["any_sign"].sum())}
        lines.append({"direction": name, "neurons": len(found), **counts, **not_judged, "least correlation": least})
    return lines


def failures(directions: Sequence[pd.DataFrame], n_neurons: int) -> str:
    """What is against the claim; empty where nothing is."""
    missing = [f"{len(found)} neurons instead of {n_neurons}" for found in directions if len(found) != n_neurons]
    lost = pd.concat([found[found["counted"] == KINDS[-1]] for found in directions])
    return "\n".join([*missing, lost.head(20).to_string(index=False)] if missing or len(lost) else [])


def main() -> None:
    """Copy, ingest, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder, hub name or file, as `catalog ingest` takes them")
    parser.add_argument("--max-tokens", type=int, default=20_000)
    parser.add_argument("--corpus", default=POCKET_CORPUS)
    parser.add_argument("--seed", type=int, default=0, help="of the permutation and the signs")
    arguments = parser.parse_args()
    source = parse_model_argument(arguments.model)
    with tempfile.TemporaryDirectory(prefix="permuted-") as folder:
        checkpoint = open_checkpoint(source, torch.device("cpu"))
        any_sign = arbitrary(checkpoint)
        orders = permuted(checkpoint, Path(folder), arguments.seed)
        del checkpoint
        location = source.location + (f"@{source.revision}" if source.revision else "")
        with own_catalog() as engine:
            models = [f"{ORIGINAL}={location}", f"{COPY}={folder}"]
            only = ("activations", "correlations")
            # nothing here asks for the baseline
            settings: dict[str, int] = {"max_tokens": arguments.max_tokens, "baseline_draws": 1, "top_k": 2, "controls": 0}
            run = ingested(models, arguments.corpus, only, **settings)
            directions = measure(engine, run, orders, any_sign)
    print(table(report(directions)))
    failed = failures(directions, orders.size)
    if failed:
        raise SystemExit(failed)


if __name__ == "__main__":
    main()
