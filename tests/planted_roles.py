"""A small real GPT-2 of three layers whose neurons do to predictions and to a head what they are told; see `tests.planted`.

The unembedding is not tied, so it is written in folded form, too. Its columns are random in all directions but these:

- numbers have a part in `up` and in `down`. A neuron that writes `up` promotes them, one that writes against `down`
  suppresses them; what the two write is orthogonal, for an antipodal pair is planted elsewhere.
- tokens that start with a space have a part along `space`, the others against it. They are the words of the corpus, so that
  what is written along it raises what is frequent.
- `null`, `quiet` and `early` are in no column. All residuals have a constant part along `null` at the end. A neuron of the last
  layer that writes `null` adds to it, so that the final layer norm shrinks the logits; its opposite in the layer before
  takes it away. Its weights make the first a candidate (SPEC 8.1), and the other is one as its antipode alone. A decoy in the
  layer before is a candidate, too, by the length of its w_in; but it writes so little, along `quiet`, that nothing follows. A
  second one writes as much as the first along `early`, but does so before the last two layers.

A head of the last layer has one key, large at BOS alone, and one query, which reads `query`, so that W_Q k_BOS is along it;
the value of BOS is 0. A neuron of the first layer writes 0.8 `query` + 0.6 `aside`, raises the attention to BOS and silences
the head; one of the second writes -0.8 `query` + 0.6 `aside` and does the opposite. A constant neuron writes as the former
does, but nothing goes with its activation.

The duplicates lie in two layers and differ by a fifth (w_in) and a half (w_out) of their norm. What all these neurons read
is what fillers read: random dense directions, so that nothing in the text explains them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tests.factories import byte_bpe_tokenizer
from tests.planted import D_HEAD, D_MODEL, Builder, PlantedFamily, PlantedNeuron
from tests.planted_ngrams import common_words

NUMBERS = ("10", "11", "12", "13", "14", "15")
HEAD = (2, 1)
"""Layer and place of the planted head."""
UP, ASIDE = 0.8, 0.6
"""Cosines of attention neurons with `query` and `aside`."""
CLASS_PART, SPACE_PART = 0.55, 0.4
"""Parts of a unit unembedding along `up` and `down`, and along `space`."""
LENGTH = 3.0
"""Mean norm of unembeddings: so long that logits are as unlike as those of a model that knows something."""
CONSTANT = 2.0
"""The part of all residuals along `null`; what else there is has a norm of about 1.5."""
FAMILIES = (
    "prediction", "suppression", "partition", "entropy", "anti_entropy", "attn_deactivation", "attn_activation", "duplicate",
    "antipodal", "token_frequency",
)  # fmt: skip
"""What is planted here."""


def planted_roles(folder: Path, seed: int = 0, n_documents: int = 230) -> PlantedFamily:
    """Write the model, a copy of it with permuted neurons, and the corpus below `folder`."""
    common = common_words(seed, 100)
    tokenizer = byte_bpe_tokenizer(texts=["a"], vocab_size=300, whole_tokens=[f" {word}" for word in (*NUMBERS, *common)])
    classes = {"bos": [tokenizer.bos_token_id]}
    return _RolesBuilder(seed, tokenizer, classes, role_texts(common, n_documents, seed)).write(folder)


def role_texts(common: list[str], n_documents: int, seed: int) -> list[str]:
    """Words in random order: common ones and numbers, all of them rare."""
    words, generator = [*NUMBERS, *common], np.random.default_rng(seed)
    return ["".join(f" {word}" for word in generator.choice(words, 150)) for _ in range(n_documents)]


def token_strings(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The text of each id."""
    return [tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in range(len(tokenizer))]


class _RolesBuilder(Builder):
    """Two neurons for each of numbers, the null space, a head, and one direction; one that parts tokens; three decoys."""

    n_layers = 3
    d_mlp = 75
    tied = False
    roles = ("bos",)
    unembedded = ("up", "down", "space", "null", "quiet", "early", "query", "aside")
    copied: ClassVar = {}

    def plant(self, places: list[list[int]]) -> tuple[PlantedNeuron, ...]:
        at = self.directions
        up = self._write(places, 1, at["up"])
        down = self._write(places, 2, -at["down"])
        space = self._write(places, 2, at["space"])
        entropy = self._write(places, 2, at["null"], size=0.4, reads=1.5, noise=0.01)
        opposite = self._write(places, 1, -at["null"], size=0.35, noise=0.03)
        self._write(places, 1, at["quiet"], size=0.02, reads=1.5, noise=0.01)
        self._write(places, 0, at["early"], size=0.4, reads=1.5, noise=0.01)
        raises = self._write(places, 0, UP * at["query"] + ASIDE * at["aside"], size=0.15, reads=1.2)
        lowers = self._write(places, 1, ASIDE * at["aside"] - UP * at["query"], size=0.15, reads=1.2)
        self._write(places, 0, UP * at["query"] + ASIDE * at["aside"], size=0.15, reads=0.0, bias=1.0)
        first, second = self._write_twins(places, (0, 1))
        head = "A{}.H{}".format(*HEAD)
        wanted = (
            (up, "prediction", "all_numeric", ()),
            (down, "suppression", "all_numeric", ()),
            (space, "partition", "starts_w_space", (("token_frequency", "frequent"),)),
            (entropy, "entropy", "entropy", (("antipodal", _name(opposite)),)),
            (opposite, "anti_entropy", "anti_entropy", (("antipodal", _name(entropy)),)),
            (raises, "attn_deactivation", head, ()),
            (lowers, "attn_activation", head, ()),
            (first, "duplicate", _name(second), ()),
            (second, "duplicate", _name(first), ()),
        )
        return tuple(PlantedNeuron(*place, family, subtype, (), also) for place, family, subtype, also in wanted)

    def _write(
        self,
        places: list[list[int]],
        layer: int,
        direction: Tensor,
        size: float = 0.03,
        reads: float = 1.0,
        bias: float = 0.5,
        noise: float = 0.1,
    ) -> tuple[int, int]:
        """A dense neuron that writes a direction; its place.

        Args:
            size, reads, bias: the norms of w_out and w_in, and b_in.
            noise: the norm of what w_out has of all directions, over that of the rest.
        """
        place = layer, places[layer].pop()
        self.set_neuron(*place, reads * self.dense(), bias)
        self._set_output(place, size * (direction + noise * self._random(D_MODEL) / D_MODEL**0.5))
        return place

    def _write_twins(self, places: list[list[int]], layers: Sequence[int]) -> list[tuple[int, int]]:
        """Neurons that read and write nearly the same; their places."""
        reads, writes, twins = self.dense(), self.dense(), []
        for layer in layers:
            twins.append((layer, places[layer].pop()))
            self.set_neuron(*twins[-1], reads + 0.2 * self.dense(), 0.5)
            self._set_output(twins[-1], 0.03 * (writes + 0.5 * self.dense()))
        return twins

    def _set_output(self, place: tuple[int, int], w_out: Tensor) -> None:
        layer, index = place
        self.model.transformer.h[layer].mlp.c_proj.weight[index] = w_out

    def _write_heads(self) -> None:
        attention = self.model.transformer.h[HEAD[0]].attn
        first = HEAD[1] * D_HEAD
        query, key, _ = attention.c_attn.weight.split(D_MODEL, dim=1)
        query[:, first] = self.directions["query"]
        key[:, first] = self.directions["bos"]
        # the layer norm makes BOS about 5.6 there, over sqrt(32): a score of 3, so BOS gets about half of the attention
        attention.c_attn.bias[first] = 3.0

    def _unfold(self) -> None:
        self.model.transformer.h[-1].mlp.c_proj.bias.add_(CONSTANT * self.directions["null"])
        super()._unfold()
        self.model.lm_head.weight.copy_(self._unembedding() / self.model.transformer.ln_f.weight)

        self._silence_bos()

    def _silence_bos(self) -> None:
        """Take what enters the head's layer at BOS out of what its values read."""
        block, first = self.model.transformer.h[HEAD[0]], 2 * D_MODEL + HEAD[1] * D_HEAD
        seen: list[Tensor] = []
        handle = block.ln_1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, 0]))
        self.model(torch.tensor([self.classes["bos"]]))
        handle.remove()
        bos = torch.nn.functional.normalize(seen[0] - seen[0].mean(), dim=0)
        value, gain = block.attn.c_attn.weight[:, first : first + D_HEAD], block.ln_1.weight[:, None]
        value.sub_(torch.outer(bos, bos @ (gain * value)) / gain)

    def _unembedding(self) -> Tensor:
        """(ids, d_model): the transpose of the folded W_U."""
        strings = token_strings(self.tokenizer)
        n = self.model.config.vocab_size
        along = torch.zeros(n, 3)
        along[[i for i, text in enumerate(strings) if text.strip().isdecimal()], :2] = CLASS_PART
        spaced = torch.tensor([text.startswith(" ") and bool(text.strip()) for text in strings])
        along[: len(strings), 2] = torch.where(spaced, SPACE_PART, -SPACE_PART)
        roles = {name: direction.view(-1, D_MODEL) for name, direction in self.directions.items()}
        chosen = torch.cat([roles.pop(name) for name in ("up", "down", "space")])
        free = torch.cat([direction for name, direction in roles.items() if name not in ("null", "quiet", "early")])
        own = self._random(n, len(free))
        own = own / own.norm(dim=1, keepdim=True) * (1 - along.square().sum(1, keepdim=True)).sqrt()
        return LENGTH * torch.exp(0.2 * self._random(n, 1)) * (along @ chosen + own @ free)


def _name(place: tuple[int, int]) -> str:
    return "{}.{}".format(*place)
