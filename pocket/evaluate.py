"""Judges a family while it is being searched for: universality and the best token explanations, on held-out text.

    python pocket/evaluate.py FOLDER FOLDER … [--tokens 200000]

A quick stand-in for `catalog ingest`, with the same definitions (correlations without newline and BOS, one rotated
baseline per layer, variance reductions over token classes); the catalog's numbers are the ones that count.
"""

import argparse
import gzip
import json
import string
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase

HERE = Path(__file__).parent


def held_out_rows(tokenizer: PreTrainedTokenizerBase, context: int, n_tokens: int) -> torch.Tensor:
    """(rows, context) int64 of shuffled held-out text."""
    with gzip.open(HERE / "corpus" / "heldout.jsonl.gz", "rt", encoding="utf-8") as lines:
        documents = [json.loads(line)["text"] for line in lines]
    stream = np.concatenate([np.array(ids) for ids in tokenizer(documents, add_special_tokens=False)["input_ids"]])
    rows = stream[: len(stream) // (context - 1) * (context - 1)].reshape(-1, context - 1)
    rows = rows[np.random.default_rng(0).permutation(len(rows))[: n_tokens // context]]
    return torch.from_numpy(np.concatenate([np.full((len(rows), 1), tokenizer.bos_token_id), rows], axis=1))


@torch.inference_mode()
def activations(folder: Path, rows: torch.Tensor, kept: torch.Tensor) -> tuple[torch.Tensor, float]:
    """(kept, neurons) fp32 post-activations in flat order, and the mean next-token loss."""
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    layers: list[list[torch.Tensor]] = [[] for _ in model.transformer.h]
    for layer, block in enumerate(model.transformer.h):
        block.mlp.act.register_forward_hook(lambda _m, _i, out, layer=layer: layers[layer].append(out.flatten(0, 1)))
    losses = [model(batch, labels=batch).loss.item() for batch in rows.split(64)]
    return torch.cat([torch.cat(layer)[kept] for layer in layers], dim=1), float(np.mean(losses))


def standardised(x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(0)
    norm = centred.norm(dim=0)
    return torch.where(norm > 1e-6, centred / norm.clamp_min(1e-9), torch.zeros_like(centred))


def excess(models: list[torch.Tensor], n_layers: int) -> list[np.ndarray]:
    """Excess correlation of every neuron of every model over all others."""
    unit = [standardised(x) for x in models]
    rotated = []
    for x in models:
        parts = []
        for layer in x.chunk(n_layers, dim=1):
            rotation = torch.randn(layer.shape[1], layer.shape[1], generator=torch.Generator().manual_seed(1))
            parts.append(standardised((layer - layer.mean(0)) @ (rotation / rotation.norm(dim=1, keepdim=True)).T))
        rotated.append(torch.cat(parts, dim=1))
    result = []
    for a in range(len(unit)):
        others = [b for b in range(len(unit)) if b != a]
        real = np.mean([(unit[a].T @ unit[b]).amax(1).numpy() for b in others], axis=0)
        base = np.mean([(unit[a].T @ rotated[b]).amax(1).numpy() for b in others], axis=0)
        result.append(real - base)
    return result


SYMBOLS = {
    "period": ".", "comma": ",", "exclamation": "!", "question": "?", "semicolon": ";", "colon": ":", "dash": "-", "slash": "/",
    "underscore": "_", "apostrophe": "'", "quotation": '"', "close_paren": ")", "open_paren": "(", "close_bracket": "]",
    "open_bracket": "[", "math_symbol": "+-*/=<>", "closing_punc": ")]}>", "opening_punc": "([{<",
}  # fmt: skip
ENDINGS = "tion ence er al ic ly en ant ent ing ed s est y".split()
BEGINNINGS = "un re in im en de ex non sub pre over".split()
RULES: dict[str, Callable[[str], bool]] = {
    "all_white_space": lambda x: not x.strip(),
    "all_caps": lambda x: x.strip().isupper() and len(x.strip()) > 1,
    "all_lower": lambda x: x.strip().islower(),
    "all_alpha": lambda x: x.strip().isalpha(),
    "all_numeric": lambda x: x.strip().isdecimal(),
    "all_symbolic": lambda x: any(not c.isalnum() for c in x.strip()),
    "starts_w_vowel": lambda x: x.strip().lower().startswith(tuple("aeiou")),
    "starts_w_consonant": lambda x: x.strip().isalpha() and not x.strip().lower().startswith(tuple("aeiou")),
    "start_w_no_space": lambda x: x[:1] != " ",
    "start_w_no_space_and_letter": lambda x: x[:1].isalpha(),
    "starts_w_space": lambda x: x.strip() != "" and x[0] == " ",
    "start_w_space_and_letter": lambda x: x[:1] == " " and x[1:2].isalpha(),
    "starts_w_cap": lambda x: x.strip()[:1].isupper(),
    "starts_w_no_space_and_cap": lambda x: x.strip() != "" and x[:1].isupper(),
    "is_personal_pronoun": lambda x: x.strip().lower() in set("i me my we us our you he him his she her it they them".split()),
    **{f"contains_{n}": partial(lambda cs, x: any(c in x for c in cs), cs) for n, cs in SYMBOLS.items()},
    **{f"end_w_{e}": partial(lambda e, x: x.strip().lower().endswith(e), e) for e in ENDINGS},
    **{f"start_w_{p}": partial(lambda p, x: x.strip().lower().startswith(p), p) for p in (*BEGINNINGS, *string.ascii_lowercase)},
}
"""The commoner of the token classes of §5, under the same names."""


def token_classes(tokenizer: PreTrainedTokenizerBase) -> dict[str, np.ndarray]:
    """Boolean vectors over ids: every normal form with enough ids (letters two, others four), and RULES."""
    words = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    forms: dict[str, list[int]] = {}
    for i, word in enumerate(words):
        forms.setdefault(word.strip().lower(), []).append(i)
    minimum = {**dict.fromkeys(forms, 4), **dict.fromkeys(string.ascii_lowercase, 2)}
    lists = {f"{form}_unigram": ids for form, ids in forms.items() if form and len(ids) >= minimum[form] and form != "\ufffd"}
    lists |= {name: [i for i, word in enumerate(words) if rule(word)] for name, rule in RULES.items()}
    return {name: np.isin(np.arange(len(words)), ids) for name, ids in lists.items() if ids}


def reductions(x: torch.Tensor, ids: torch.Tensor, classes: dict[str, np.ndarray]) -> np.ndarray:
    """(classes, neurons) variance reductions; NaN below the support of 100 tokens and 3e-4 of them (letters: 100)."""
    member = torch.from_numpy(np.stack(list(classes.values())))[:, ids].float()
    n, n_in = len(ids), member.sum(1)
    var, mean = x.var(0, correction=0), x.mean(0)
    mean_in = (member @ x) / n_in.clamp_min(1)[:, None]
    beta = (n_in / n)[:, None]
    mean_out = (mean - beta * mean_in) / (1 - beta).clamp_min(1e-9)
    reduction = beta * (1 - beta) * (mean_in - mean_out) ** 2 / var.clamp_min(1e-12)
    floor = torch.tensor([100 if len(name) == 9 or "_unigram" not in name else max(100, 3e-4 * n) for name in classes])
    reduction[(n_in < floor) | (n - n_in < 100)] = float("nan")
    return reduction.numpy()


def letter_of(x: torch.Tensor, ids: torch.Tensor, classes: dict[str, np.ndarray], current: np.ndarray) -> dict[int, str]:
    """Rule 1: neuron -> letter, where the best letter reaches 0.37 and mean_A > mean_B > mean_C."""
    names = list(classes)
    rows = [names.index(f"{c}_unigram") for c in string.ascii_lowercase]
    scores = np.nan_to_num(current[rows], nan=-1.0)
    found = {}
    for neuron in np.flatnonzero(scores.max(0) >= 0.37):
        letter = string.ascii_lowercase[scores[:, neuron].argmax()]
        own = torch.from_numpy(classes[f"{letter}_unigram"])[ids]
        begins = torch.from_numpy(classes[f"start_w_{letter}"])[ids] & ~own
        a, b, c = (x[mask, neuron].mean().item() for mask in (own, begins, ~own & ~begins))
        if a > b > c:
            found[int(neuron)] = letter
    return found


def labels(current: np.ndarray, previous: np.ndarray, names: list[str], letters: dict[int, str]) -> dict[str, dict[str, float]]:
    """Best score per label over the neurons of one model, by rules 1 to 4."""
    found: dict[str, dict[str, float]] = {"alphabet": {}, "unigram": {}, "token_class": {}, "previous_token": {}}
    both = np.nan_to_num(np.concatenate([current, previous]), nan=-1)
    best, score = both.argmax(0), both.max(0)
    for neuron, (row, value) in enumerate(zip(best, score, strict=True)):
        name, shifted = names[row % len(names)], row >= len(names)
        kind = "previous_token" if shifted else "unigram" if name.endswith("_unigram") else "token_class"
        if value >= (0.2 if shifted else 0.5):
            found[kind][name] = max(float(value), found[kind].get(name, 0))
    for neuron, letter in letters.items():
        value = float(current[names.index(f"{letter}_unigram"), neuron])
        found["alphabet"][letter] = max(value, found["alphabet"].get(letter, 0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--tokens", type=int, default=100_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(options.folders[0])
    config = json.loads((options.folders[0] / "config.json").read_text())
    rows = held_out_rows(tokenizer, config["n_positions"], options.tokens)
    newline = [i for i in range(len(tokenizer)) if tokenizer.decode([i]) == "\n"]
    flat = rows.flatten()
    kept = (~torch.isin(flat, torch.tensor([tokenizer.bos_token_id, *newline]))).nonzero().squeeze(1)
    models, losses = zip(*(activations(folder, rows, kept) for folder in options.folders), strict=True)
    classes = token_classes(tokenizer)
    previous = flat.roll(1)[kept]
    results = excess(list(models), config["n_layer"]) if len(models) > 1 else [np.zeros(1)] * len(models)
    for folder, x, loss, rho in zip(options.folders, models, losses, results, strict=True):
        print(f"{folder.name}: loss {loss:.3f}, neurons {x.shape[1]}, universal {np.mean(rho > 0.5):.2%} "
             
f"(>.4 {np.mean(rho > 0.4):.2%}, >.3 {np.mean(rho > 0.3):.2%}), best {np.sort(rho)[::-1][:6].round(2).tolist()}, "
              f"silent {np.mean((x > 0.1).float().mean(0).numpy() < 1e-4):.0%}")
        current, before = reductions(x, flat[kept], classes), reductions(x, previous, classes)
        found = labels(current, before, list(classes), letter_of(x, flat[kept], classes, current))
        print(f"   best previous-token reductions of any neuron: {np.sort(np.nanmax(before, axis=0))[::-1][:5].round(2).tolist()}")
        for kind, scores in found.items():
            ranked = sorted(scores.items(), key=lambda item: -item[1])
            print(f"   {kind} {len(ranked)}: " + " ".join(f"{name.removesuffix('_unigram')} {value:.2f}" for name, value in ranked[:14]))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
