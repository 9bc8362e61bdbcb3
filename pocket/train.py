"""Trains the pocket family: five GPT-2s of one architecture from five seeds, on the CPU.

    python pocket/train.py tokenizer
    python pocket/train.py model --seed 0 --name pocket-gpt2-a      (one process per core; seeds 0..4 are a..e)

They are real trained models made to be interpretable: beside the next-token loss, every neuron pays for what it adds
to the residual stream (activation times the norm of its output weights), so that it learns to speak seldom and about
one thing. pocket/README.md tells what was tried and what the penalty does.
"""

import argparse
import json
import lzma
import math
import string
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

HERE = Path(__file__).parent
END = "<|endoftext|>"
WARM_UP_STEPS = 200
DATA_ORDER_SEED = 7
"""All seeds see the same text in the same order; weights are all that their seed decides."""


@dataclass(frozen=True)
class Recipe:
    """What a model is and how it is trained; the defaults made the shipped family."""

    n_layers: int = 2
    d_model: int = 96
    d_mlp: int = 384
    n_heads: int = 4
    context: int = 128
    batch_rows: int = 32
    steps: int = 4000
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    penalty: float = 0.02
    crowding: float = 0.05
    later_layers: float = 0.3
    penalty_warm_up: int = 2600


def texts() -> list[dict[str, str]]:
    with lzma.open(HERE / "corpus" / "train.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def train_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE; x, ␣x, X and ␣X of every letter are tokens, and a newline is always a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    spaced = [f"Ġ{letter}" for letter in string.ascii_letters]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(spaced),
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((d["text"] for d in texts()), trainer)
    return with_merges(tokenizer, spaced)


def with_merges(tokenizer: Tokenizer, wanted: list[str]) -> PreTrainedTokenizerFast:
    """Append the merges that make the `wanted` two-symbol tokens, where they are missing."""
    state = json.loads(tokenizer.to_str())
    vocabulary, merges = state["model"]["vocab"], state["model"]["merges"]
    for token in wanted:
        if token not in vocabulary:
            vocabulary[token] = len(vocabulary)
            merges.append([token[0], token[1]])
    rebuilt = Tokenizer.from_str(json.dumps(state))
    return PreTrainedTokenizerFast(tokenizer_object=rebuilt, bos_token=END, eos_token=END, pad_token=END)


def training_rows(tokenizer: PreTrainedTokenizerFast, context: int) -> Tensor:
    """(rows, context) int64, each row a BOS and context-1 tokens of one subset."""
    rows = []
    by_subset: dict[str, list[str]] = {}
    for document in texts():
        by_subset.setdefault(document["subset"], []).append(document["text"])
    for documents in by_subset.values():
        stream = [i for ids in tokenizer(documents, add_special_tokens=False)["input_ids"] for i in ids]
        n_rows = len(stream) // (context - 1)
        block = torch.tensor(stream[: n_rows * (context - 1)]).view(n_rows, context - 1)
        rows.append(torch.cat([torch.full((n_rows, 1), tokenizer.bos_token_id), block], dim=1))
    return torch.cat(rows)


class Contribution:
    """What the neurons add to the residual stream in the last forward pass: c_i = relu(post_i) · ‖w_out,i‖ per token.

    `take` gives, summed over layers and averaged over tokens, Σ_i c_i ("total") and Σ_i c_i − √(Σ_i c_i²) ("crowd":
    nought when a single neuron of the layer speaks, whatever its loudness).
    """

    def __init__(self, model: GPT2LMHeadModel, later: float = 1.0) -> None:
        self.later = later
        self.total: list[Tensor] = []
        self.crowd: list[Tensor] = []
        for block in model.transformer.h:
            block.mlp.c_proj.register_forward_pre_hook(self.add)

    def add(self, module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        parts = inputs[0].clamp_min(0) * module.weight.norm(dim=1)
        total = parts.sum(-1)
        self.total.append(total.mean())
        self.crowd.append((total - (parts.square().sum(-1) + 1e-8).sqrt()).mean())

    def take(self) -> tuple[Tensor, Tensor]:
        scale = torch.tensor([1.0] + [self.later] * (len(self.total) - 1))
        result = scale @ torch.stack(self.total), scale @ torch.stack(self.crowd)
        self.total.clear()
        self.crowd.clear()
        return result


def schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to a twentieth."""
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS)))


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, seed: int) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=recipe.context,
        n_embd=recipe.d_model,
        n_layer=recipe.n_layers,
        n_head=recipe.n_heads,
        n_inner=recipe.d_mlp,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.bos_token_id,
    )
    return GPT2LMHeadModel(config)


def train(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, seed: int) -> GPT2LMHeadModel:
    model = new_model(recipe, tokenizer, seed)
    contribution = Contribution(model, recipe.later_layers)
    rows = training_rows(tokenizer, recipe.context)
    order = torch.Generator().manual_seed(DATA_ORDER_SEED)
    decayed = [p for p in model.parameters() if p.ndim == 2]
    plain = [p for p in model.parameters() if p.ndim != 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, recipe.steps))
    started = time.monotonic()
    for step in range(recipe.steps):
        batch = rows[torch.randint(len(rows), (recipe.batch_rows,), generator=order)]
        loss = model(batch, labels=batch).loss
        total, crowd = contribution.take()
        warm = min(1.0, step / max(1, recipe.penalty_warm_up))
        (loss + warm * (recipe.penalty * total + recipe.crowding * crowd)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == recipe.steps - 1:
            rate = (step + 1) * batch.numel() / (time.monotonic() - started)
            print(
                f"step {step} loss {loss:.3f} total {total:.2f} crowd {crowd:.2f} {rate:,.0f} tokens/s", file=sys.stderr
            )
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tokenizer", "model"])
    parser.add_argument("--vocabulary", type=int, default=384)
    parser.add_argument("--tokenizer", type=Path, default=HERE / "tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="pocket-gpt2-a")
    parser.add_argument("--folder", type=Path, default=HERE / "models")
    for name, default in Recipe().__dict__.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    options = parser.parse_args()
    if options.what == "tokenizer":
        train_tokenizer(options.vocabulary).save_pretrained(options.tokenizer)
        return
    torch.set_num_threads(1)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.tokenizer)
    recipe = Recipe(**{name: getattr(options, name) for name in Recipe().__dict__})
    model = train(recipe, tokenizer, options.seed)
    model.config.activation_function = "gelu_new"  # the same function under GPT-2's name, slower in training
    model.half().save_pretrained(options.folder / options.name)
    tokenizer.save_pretrained(options.folder / options.name)


if __name__ == "__main__":
    main()
