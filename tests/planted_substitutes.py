"""Two small real GPT-2s: a neuron of one is a neuron of the other, scaled and shifted, and another has nothing like it there.

Embeddings of tokens and of positions have norm 1 and lie in directions of their own, so that the first layer norm divides all
alike, and head outputs of layer 0 are 0: a neuron of layer 0 that never falls below 0 is affine in what it reads. Model A has
two neurons that vary, `copied` and `lonely`; both read tokens, in directions that are uncorrelated over the corpus, and both
have learnt to write what lowers the loss. Model B has the copy, and neurons that read the position. All others are constant.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tests.factories import byte_bpe_tokenizer, mlp_parameters, random_texts, save_checkpoint, write_jsonl

D_MODEL, D_MLP, CONTEXT, N_TOKEN_DIRECTIONS = 32, 64, 32, 19
COPIED, LONELY, COPY = 5, 11, 40
SCALE, SHIFT = 2.0, 3.0
STEPS = 50


@dataclass(frozen=True)
class PlantedSubstitutes:
    """Folders of the models and their corpus."""

    a: Path
    b: Path
    corpus: Path


def planted_substitutes(folder: Path, n_documents: int = 240) -> PlantedSubstitutes:
    """Write both models and the corpus."""
    texts = random_texts(n_documents)
    tokenizer = byte_bpe_tokenizer(texts=texts)
    ids = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.cat([torch.ones(D_MODEL, 1), _random(generator, D_MODEL, D_MODEL - 1)], 1))[0].T[1:]
    of_tokens, of_positions = directions[:N_TOKEN_DIRECTIONS], directions[N_TOKEN_DIRECTIONS:]
    tokens = _units(generator, len(tokenizer), of_tokens)
    positions = _units(generator, CONTEXT, of_positions)
    copied, lonely = _uncorrelated(generator, tokens, of_tokens, Counter(ids))
    a, b = (_model(tokenizer, tokens, positions, seed) for seed in (1, 2))
    with torch.no_grad():
        _read(a, COPIED, copied, 2.0)
        _read(a, LONELY, lonely, 2.0)
        readers = 3 * _units(generator, D_MLP, of_positions)
        for index in range(D_MLP):
            _read(b, index, readers[index], 5.0)
        _read(b, COPY, SCALE * copied, SCALE * 2.0 + SHIFT)
    _learn(a, ids, tokenizer.bos_token_id)
    for name, model in (("a", a), ("b", b)):
        save_checkpoint(model, tokenizer, folder / f"stand-in-{name}")
    corpus = write_jsonl(folder / "corpus.jsonl", [{"text": text} for text in texts])
    return PlantedSubstitutes(folder / "stand-in-a", folder / "stand-in-b", corpus)


def _random(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def _units(generator: torch.Generator, n: int, directions: Tensor) -> Tensor:
    """(n, d_model) of norm 1, in the span of the directions."""
    random = _random(generator, n, len(directions))
    return random / random.norm(dim=1, keepdim=True) @ directions


def _uncorrelated(
    generator: torch.Generator, tokens: Tensor, directions: Tensor, counts: Counter[int]
) -> tuple[Tensor, Tensor]:
    """Two directions of tokens in which embeddings do not covary, by the counts of the tokens."""
    weights = torch.zeros(len(tokens))
    weights[list(counts)] = torch.tensor(list(counts.values()), dtype=torch.float32)
    weights /= weights.sum()
    centred = tokens - weights @ tokens
    one, other = _units(generator, 2, directions)
    seen = (weights * (centred @ one)) @ centred
    return one, other - (other @ seen) / (one @ seen) * one


def _model(tokenizer: PreTrainedTokenizerFast, tokens: Tensor, positions: Tensor, seed: int) -> GPT2LMHeadModel:
    """With these embeddings, silent heads in layer 0, and neurons that never change."""
    config: dict[str, Any] = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(
            GPT2Config(
                n_layer=2, n_embd=D_MODEL, n_inner=D_MLP, n_head=2, n_positions=CONTEXT, activation_function="relu",
                vocab_size=len(tokenizer), **config,
            )
        ).eval()  # fmt: skip
    with torch.no_grad():
        model.transformer.wte.weight.copy_(tokens)
        model.transformer.wpe.weight.copy_(positions)
        attention = model.transformer.h[0].attn.c_proj
        attention.weight.zero_()
        attention.bias.zero_()
        for w_in, b_in, w_out in mlp_parameters(model):
            w_in.zero_()
            b_in.fill_(1.0)
            w_out.mul_(0.1)
    return model


def _read(model: GPT2LMHeadModel, index: int, direction: Tensor, bias: float) -> None:
    """A neuron of layer 0 is `bias` and the part of the residual along a direction; the layer norm multiplies that by 4."""
    w_in, b_in, _ = mlp_parameters(model)[0]
    w_in[:, index] = direction / 4
    b_in[index] = bias


def _learn(model: GPT2LMHeadModel, ids: list[int], bos: int) -> None:
    """Have the two neurons write what lowers the loss; what they write on average is taken back."""
    each, neurons = CONTEXT - 1, [COPIED, LONELY]
    rows = torch.tensor([[bos, *ids[start : start + each]] for start in range(0, len(ids) - each, each)])
    mlp = model.transformer.h[0].mlp
    for parameter in model.parameters():
        parameter.requires_grad_(parameter is mlp.c_proj.weight)
    learnt = torch.zeros(D_MLP)
    learnt[neurons] = 1.0
    # both read tokens along a line, and are 2.0 where that is 0
    handle = mlp.act.register_forward_hook(lambda module, inputs, output: output - 2.0 * learnt)
    optimizer = torch.optim.Adam([mlp.c_proj.weight], lr=0.2)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, STEPS)
    for step in range(STEPS):
        some = rows[step % 16 :: 16]
        logits = model(some).logits[:, :-1].flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, some[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        mlp.c_proj.weight.grad.mul_(learnt[:, None])
        optimizer.step()
        slower.step()
    handle.remove()
    with torch.no_grad():
        mlp.c_proj.bias.sub_(2.0 * learnt @ mlp.c_proj.weight)
