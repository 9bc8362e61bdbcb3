"""Trains the pocket family: five GPT-2s of one architecture from five seeds, on the CPU.

    python pocket/train.py tokenizer        the BPE tokenizer, into pocket/tokenizer
    python pocket/train.py family           seeds 0 to 4 as pocket-gpt2-a to -e, two at a time
    python pocket/train.py model --seed 0 --name pocket-gpt2-a

They are real trained models made to be interpretable: beside the next-token loss, every neuron pays for what it adds
to the residual stream (activation times the norm of its output weights), and pays again for speaking in a crowd, so
that it learns to speak seldom and about one thing. pocket/README.md tells what was tried and what came of it.
"""

import argparse
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from vocabulary import HERE, train_tokenizer, training_rows

WARM_UP_STEPS = 200
DATA_ORDER_SEED = 7
"""All seeds see the same text in the same order; the initial weights are all that their seed decides."""


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


class Contribution:
    """What the neurons add to the residual stream in the last forward pass: c_i = relu(post_i) · ‖w_out,i‖ per token.

    `take` gives, averaged over tokens and summed over layers (those after the first times `later`), Σ_i c_i ("total")
    and Σ_i c_i − √(Σ_i c_i²) ("crowd": nought when a single neuron of the layer speaks, whatever its loudness).
    """

    def __init__(self, model: GPT2LMHeadModel, later: float) -> None:
        self.later = later
        self.total: list[Tensor] = []
        self.crowd: list[Tensor] = []
        for block in model.transformer.h:
            block.mlp.c_proj.register_forward_pre_hook(self.add)

    def add(self, module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Take one layer's post-activations, (rows, context, d_mlp), on their way into `module`."""
        parts = inputs[0].clamp_min(0) * module.weight.norm(dim=1)
        total = parts.sum(-1)
        self.total.append(total.mean())
        self.crowd.append((total - (parts.square().sum(-1) + 1e-8).sqrt()).mean())

    def take(self) -> tuple[Tensor, Tensor]:
        """Both sums, each a scalar; the next forward pass begins anew."""
        scale = torch.tensor([1.0] + [self.later] * (len(self.total) - 1))
        result = scale @ torch.stack(self.total), scale @ torch.stack(self.crowd)
        self.total.clear()
        self.crowd.clear()
        return result


def schedule(step: int, steps: int) -> float:
    """Factor of the learning rate: a linear warm-up, then a cosine to a twentieth."""
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS)))


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, seed: int) -> GPT2LMHeadModel:
    """A GPT-2 with the library's random weights for `seed`."""
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


def new_optimizer(model: GPT2LMHeadModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW that decays matrices only."""
    decayed = [p for p in model.parameters() if p.ndim == 2]
    plain = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


def train(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, seed: int) -> GPT2LMHeadModel:
    """One model from one seed; its progress goes to stderr."""
    model = new_model(recipe, tokenizer, seed)
    contribution = Contribution(model, recipe.later_layers)
    rows = training_rows(tokenizer, recipe.context)
    order = torch.Generator().manual_seed(DATA_ORDER_SEED)
    optimizer = new_optimizer(model, recipe)
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
            line = f"step {step} loss {loss:.3f} total {total:.2f} crowd {crowd:.2f} {rate:,.0f} tokens/s"
            print(line, file=sys.stderr, flush=True)
    return model


def save(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """A Hugging Face folder in half precision."""
    model.config.activation_function = "gelu_new"  # the same function under GPT-2's name, slower in training
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train_family(jobs: int, passed_on: list[str]) -> None:
    """Five processes of this script, `jobs` at a time."""
    commands = [
        [sys.executable, __file__, "model", "--seed", str(seed), "--name", f"pocket-gpt2-{letter}", *passed_on]
        for seed, letter in enumerate("abcde")
    ]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda command: subprocess.run(command, check=True), commands))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tokenizer", "family", "model"])
    parser.add_argument("--vocabulary", type=int, default=384, help="at most so many ids")
    parser.add_argument("--tokenizer", type=Path, default=HERE / "tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="pocket-gpt2-a")
    parser.add_argument("--folder", type=Path, default=HERE / "models")
    parser.add_argument("--jobs", type=int, default=2, help="models trained at a time, one thread each")
    for name, default in asdict(Recipe()).items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    options = parser.parse_args()
    if options.what == "tokenizer":
        train_tokenizer(options.vocabulary).save_pretrained(options.tokenizer)
    elif options.what == "family":
        train_family(options.jobs, sys.argv[sys.argv.index("family") + 1 :])
    else:
        torch.set_num_threads(1)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.tokenizer)
        recipe = Recipe(**{name: getattr(options, name) for name in asdict(Recipe())})
        save(train(recipe, tokenizer, options.seed), tokenizer, options.folder / options.name)


if __name__ == "__main__":
    main()
