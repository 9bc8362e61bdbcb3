"""Judges a family: universality, and the best token explanations by rules 1 to 4, on held-out text.

    python pocket/evaluate.py FOLDER FOLDER … [--tokens 100000]

A quick stand-in for `catalog ingest` while searching, with the same definitions (SPEC §2, §5, §6: correlations without
newline and BOS, one rotated baseline per layer, population variance reductions); the catalog's numbers are the ones
that count, since it knows every token class and this script only the commoner ones.
"""

import argparse
import gzip
import json
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from token_classes import is_letter_class, token_classes
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase
from transformers.utils import logging

HERE = Path(__file__).parent
FAMILIES = ("alphabet", "unigram", "token_class", "previous_token")


@dataclass(frozen=True)
class HeldOut:
    """Held-out rows and, for the kept positions (no BOS, no newline), their token and the token before."""

    rows: torch.Tensor
    kept: torch.Tensor
    ids: torch.Tensor
    previous: torch.Tensor


def held_out(tokenizer: PreTrainedTokenizerBase, context: int, n_tokens: int) -> HeldOut:
    """`n_tokens` of the held-out corpus in shuffled rows of `context` tokens, BOS first; int64."""
    with gzip.open(HERE / "corpus" / "heldout.jsonl.gz", "rt", encoding="utf-8") as lines:
        documents = [json.loads(line)["text"] for line in lines]
    stream = np.concatenate([np.array(ids) for ids in tokenizer(documents, add_special_tokens=False)["input_ids"]])
    rows = stream[: len(stream) // (context - 1) * (context - 1)].reshape(-1, context - 1)
    rows = rows[np.random.default_rng(0).permutation(len(rows))[: n_tokens // context]]
    rows = torch.from_numpy(np.concatenate([np.full((len(rows), 1), tokenizer.bos_token_id), rows], axis=1))
    flat = rows.flatten()
    masked = torch.tensor([tokenizer.bos_token_id, *tokenizer.encode("\n")])
    kept = (~torch.isin(flat, masked)).nonzero().squeeze(1)
    return HeldOut(rows, kept, flat[kept], flat.roll(1)[kept])


@torch.inference_mode()
def activations(folder: Path, text: HeldOut) -> tuple[torch.Tensor, float]:
    """(kept, neurons) fp32 post-activations, neurons in layer order, and the mean next-token loss in nats."""
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    layers: list[list[torch.Tensor]] = [[] for _ in model.transformer.h]
    for layer, block in enumerate(model.transformer.h):
        block.mlp.act.register_forward_hook(lambda _m, _i, out, layer=layer: layers[layer].append(out.flatten(0, 1)))
    losses = [model(batch, labels=batch).loss.item() for batch in text.rows.split(64)]
    return torch.cat([torch.cat(layer)[text.kept] for layer in layers], dim=1), float(np.mean(losses))


def standardised(x: torch.Tensor) -> torch.Tensor:
    """(tokens, n): centred columns of norm one; a constant column becomes nought."""
    centred = x - x.mean(0)
    norm = centred.norm(dim=0)
    return torch.where(norm > 1e-6, centred / norm.clamp_min(1e-9), torch.zeros_like(centred))


def rotated(x: torch.Tensor, n_layers: int) -> torch.Tensor:
    """(tokens, n): each layer in a random basis of unit rows (SPEC §2.2), standardised."""
    parts = []
    for number, layer in enumerate(x.chunk(n_layers, dim=1)):
        rotation = torch.randn(layer.shape[1], layer.shape[1], generator=torch.Generator().manual_seed(number))
        parts.append(standardised((layer - layer.mean(0)) @ (rotation / rotation.norm(dim=1, keepdim=True)).T))
    return torch.cat(parts, dim=1)


def excess(models: list[torch.Tensor], n_layers: int) -> list[np.ndarray]:
    """Per model (neurons,): mean over the others of the largest correlation, less the same for rotated neurons."""
    unit = [standardised(x) for x in models]
    sums = [np.zeros(x.shape[1]) for x in models]
    for b, x in enumerate(models):
        basis = rotated(x, n_layers)
        for a in range(len(models)):
            if a != b:
                sums[a] += ((unit[a].T @ unit[b]).amax(1) - (unit[a].T @ basis).amax(1)).numpy()
    return [total / max(1, len(models) - 1) for total in sums]


def reductions(x: torch.Tensor, ids: torch.Tensor, classes: dict[str, np.ndarray]) -> np.ndarray:
    """(classes, neurons) variance reductions, -1 where the support is too small (100 tokens; unigrams 3e-4 of all)."""
    member = torch.from_numpy(np.stack(list(classes.values())))[:, ids].float()
    n, n_in = len(ids), member.sum(1)
    mean_in = (member @ x) / n_in.clamp_min(1)[:, None]
    beta = (n_in / n)[:, None]
    mean_out = (x.mean(0) - beta * mean_in) / (1 - beta).clamp_min(1e-9)
    reduction = beta * (1 - beta) * (mean_in - mean_out) ** 2 / x.var(0, correction=0).clamp_min(1e-12)
    frequent = [name.endswith("_unigram") and not is_letter_class(name) for name in classes]
    floor = torch.where(torch.tensor(frequent), max(100.0, 3e-4 * n), 100.0)
    reduction[(n_in < floor) | (n - n_in < 100)] = -1.0
    return reduction.numpy()


def letters(x: torch.Tensor, ids: torch.Tensor, classes: dict[str, np.ndarray], scores: np.ndarray) -> dict[str, float]:
    """Rule 1: letter -> best reduction of a neuron whose best letter it is, >= 0.37, with mean_A > mean_B > mean_C."""
    rows = scores[[list(classes).index(f"{c}_unigram") for c in string.ascii_lowercase]]
    found: dict[str, float] = {}
    for neuron in np.flatnonzero(rows.max(0) >= 0.37):
        letter = string.ascii_lowercase[rows[:, neuron].argmax()]
        own = torch.from_numpy(classes[f"{letter}_unigram"])[ids]
        begins = torch.from_numpy(classes[f"start_w_{letter}"])[ids] & ~own
        a, b, c = (x[mask, neuron].mean().item() for mask in (own, begins, ~own & ~begins))
        if a > b > c:
            found[letter] = max(float(rows[:, neuron].max()), found.get(letter, 0.0))
    return found


def labels(current: np.ndarray, previous: np.ndarray, names: list[str]) -> dict[str, dict[str, float]]:
    """Rules 2 to 4: family -> feature -> best reduction among the neurons whose best feature it is."""
    found: dict[str, dict[str, float]] = {family: {} for family in FAMILIES}
    both = np.concatenate([current, previous])
    for row, value in zip(both.argmax(0), both.max(0), strict=True):
        name, shifted = names[row % len(names)], row >= len(names)
        family = "previous_token" if shifted else "unigram" if name.endswith("_unigram") else "token_class"
        if value >= (0.2 if shifted else 0.5):
            found[family][name] = max(float(value), found[family].get(name, 0.0))
    return found


def report(name: str, x: torch.Tensor, loss: float, rho: np.ndarray, text: HeldOut, classes: dict[str, np.ndarray]) -> None:
    shares = ", ".join(f"> {bound}: {np.mean(rho > bound):.2%}" for bound in (0.5, 0.4, 0.3))
    silent = np.mean((x > 0.1).float().mean(0).numpy() < 1e-4)
    print(f"{name}: loss {loss:.3f}, {x.shape[1]} neurons, excess {shares}, largest {rho.max():.2f}, silent {silent:.0%}")
    current, previous = reductions(x, text.ids, classes), reductions(x, text.previous, classes)
    print(f"   largest previous-token reductions {np.sort(previous.max(0))[::-1][:4].round(2).astype(str).tolist()}")
    found = labels(current, previous, list(classes)) | {"alphabet": letters(x, text.ids, classes, current)}
    for family in FAMILIES:
        ranked = sorted(found[family].items(), key=lambda item: -item[1])[:20]
        shown = " ".join(f"{feature.removesuffix('_unigram')} {value:.2f}" for feature, value in ranked)
        print(f"   {family} {len(found[family])}: {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--tokens", type=int, default=100_000)
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(options.folders[0])
    config = json.loads((options.folders[0] / "config.json").read_text())
    text = held_out(tokenizer, config["n_positions"], options.tokens)
    models, losses = zip(*(activations(folder, text) for folder in options.folders), strict=True)
    classes = token_classes(tokenizer)
    for row in zip(options.folders, models, losses, excess(list(models), config["n_layer"]), strict=True):
        report(row[0].name, *row[1:], text, classes)


if __name__ == "__main__":
    main()
