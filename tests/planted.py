"""A small real GPT-2 whose neurons do what they are told, and a copy of it with the neurons permuted.

The weights are built in folded form, then unfolded with random layer-norm gains and biases, so a wrong folding is seen.
In d_model = 128 an orthonormal basis of all directions without a mean gives every role its own directions:

- each token class (a unigram, a letter, the numbers, the word whose successor is marked) has one; token embeddings have
  norm 1, the rest of it in random directions of their own, so that a layer norm divides all of them by nearly the same;
- positions are orthonormal waves, so that head 0 of layer 0 can look one position back: its queries are its keys, turned
  by one step. It copies the class direction `followed` into the direction `after`, which a neuron of layer 1 reads.

A planted neuron reads one direction with gain 1 and bias -1: about 4.5 where it should fire, -1 elsewhere. Fillers are
half constant (w_in 0, b_in 1), half random and dense in all directions without a role. They do not read the most frequent
tokens either: one of these alone would explain a neuron that answers to it by chance, and fairly earn it a label.

`Builder` does all of this for the other planted models, too, which say what their directions and neurons are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tests.factories import UNUSED_IDS, byte_bpe_tokenizer, permuted_copy, save_checkpoint, write_jsonl
from tests.planted_texts import (
    BEGINNING,
    BEGINS_WITH,
    CLASSES,
    FOLLOWED,
    IN_CLASS,
    LETTER,
    LETTERS,
    N_FREQUENT,
    UNIGRAM,
    forms,
    planted_texts,
    token_classes,
)

D_MODEL, N_HEADS, N_LAYERS, D_MLP, CONTEXT = 128, 4, 2, 60, 64
D_HEAD = D_MODEL // N_HEADS


@dataclass(frozen=True)
class PlantedNeuron:
    """Where a neuron of the model 'a' is, and the family and subtype that it must get."""

    layer: int
    index: int
    family: str
    subtype: str
    token_ids: tuple[int, ...]
    """The ids that it fires on, or right after."""
    also: tuple[tuple[str, str], ...] = ()
    """Family and subtype of other labels that are true of it."""

    @property
    def labels(self) -> set[tuple[str, str]]:
        """All its labels."""
        return {(self.family, self.subtype), *self.also}


@dataclass(frozen=True)
class PlantedFamily:
    """Folders of the two models, their corpus, and what they hold."""

    a: Path
    b: Path
    corpus: Path
    """JSON Lines with the subsets `first` and `second`."""
    tokenizer: PreTrainedTokenizerFast
    neurons: tuple[PlantedNeuron, ...]
    constant: tuple[tuple[int, int], ...]
    """(layer, index) of the fillers of 'a' whose activation never changes."""
    permutation: np.ndarray
    """(layers, d_mlp): neuron n of 'b' is neuron permutation[layer, n] of 'a'."""


def planted_family(folder: Path, seed: int = 0, n_documents: int = 190) -> PlantedFamily:
    """Write both models and the corpus below `folder`."""
    texts = planted_texts(n_documents, seed)
    whole = [form for word in (UNIGRAM, FOLLOWED, *LETTERS, *BEGINNING) for form in forms(word)]
    tokenizer = byte_bpe_tokenizer(texts=texts, vocab_size=420, whole_tokens=whole)
    return _LexicalBuilder(seed, tokenizer, token_classes(tokenizer), texts).write(folder)


class Builder:
    """Writes planted weights into a GPT-2; a subclass says which."""

    n_layers: ClassVar[int] = N_LAYERS
    d_mlp: ClassVar[int] = D_MLP
    tied: ClassVar[bool] = True
    """Whether the unembedding is the embedding; else a subclass writes it when it unfolds."""
    roles: ClassVar[tuple[str, ...]]
    """Directions that embeddings of tokens have a part in."""
    unembedded: ClassVar[tuple[str, ...]] = ()
    """Directions that they have none in."""
    copied: ClassVar[Mapping[str, int]]
    """Roles that a head copies into the direction `after …`, and from how many positions back."""

    def __init__(
        self, seed: int, tokenizer: PreTrainedTokenizerFast, classes: Mapping[str, Sequence[int]], texts: Sequence[str]
    ) -> None:
        self.seed, self.tokenizer, self.classes, self.texts = seed, tokenizer, classes, texts
        self.generator = torch.Generator().manual_seed(seed)
        self.directions = self._directions()
        self.model = GPT2LMHeadModel(
            GPT2Config(
                n_layer=self.n_layers,
                n_embd=D_MODEL,
                n_inner=self.d_mlp,
                tie_word_embeddings=self.tied,
                n_head=N_HEADS,
                n_positions=CONTEXT,
                vocab_size=len(tokenizer) + UNUSED_IDS,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        ).eval()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(self._random(*parameter.shape) * (0.01 if parameter.ndim > 1 else 0.02))
            self._write_embeddings()
            self._write_heads()
            self.unread_basis = torch.linalg.qr(self.unread().T)[0]
            places = [torch.randperm(self.d_mlp, generator=self.generator).tolist() for _ in range(self.n_layers)]
            self.planted = self.plant(places)
            self.constant = self._fill(places)
            self._unfold()

    def plant(self, places: list[list[int]]) -> tuple[PlantedNeuron, ...]:
        """Write the neurons of this model, each in a place of its layer that is then taken off the list."""
        raise NotImplementedError

    def parts(self) -> Tensor:
        """(ids, roles): how much of each id's embedding lies along the direction of each role."""
        along = torch.zeros(self.model.config.vocab_size, len(self.roles))
        for column, name in enumerate(self.roles):
            along[list(self.classes[name]), column] = IN_CLASS
        return along

    def unread(self) -> Tensor:
        """(directions, d_model): what no filler reads."""
        counts = Counter(i for text in self.texts for i in self.tokenizer(text, add_special_tokens=False)["input_ids"])
        frequent = [i for i, _ in counts.most_common(N_FREQUENT)]
        roles = [direction.view(-1, D_MODEL) for name, direction in self.directions.items() if name != "token"]
        embeddings = self.model.transformer.wte.weight[frequent]
        return torch.cat([*roles, embeddings - embeddings.mean(1, keepdim=True)])

    def write(self, folder: Path) -> PlantedFamily:
        """Save the model, its permuted copy, and the texts, of which each fourth is of the first subset."""
        save_checkpoint(self.model, self.tokenizer, folder / "planted-a")
        rows = [{"text": text, "subset": "first" if i % 4 == 0 else "second"} for i, text in enumerate(self.texts)]
        return PlantedFamily(
            a=folder / "planted-a",
            b=folder / "planted-b",
            corpus=write_jsonl(folder / "corpus.jsonl", rows),
            tokenizer=self.tokenizer,
            neurons=self.planted,
            constant=self.constant,
            permutation=permuted_copy(folder / "planted-a", folder / "planted-b", self.seed + 1),
        )

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def _directions(self) -> dict[str, Tensor]:
        """Orthonormal rows without a mean: `position` (d_head, d_model), one for each role and copy, `token` the rest."""
        start = torch.cat([torch.ones(D_MODEL, 1), self._random(D_MODEL, D_MODEL - 1)], dim=1)
        basis = torch.linalg.qr(start)[0].T[1:]
        names = (*self.roles, *self.unembedded, *(f"after {name}" for name in self.copied))
        named = dict(zip(names, basis[D_HEAD:], strict=False))
        return {"position": basis[:D_HEAD], "token": basis[D_HEAD + len(named) :], **named}

    def _write_embeddings(self) -> None:
        n, along = self.model.config.vocab_size, self.parts()
        own = self._random(n, len(self.directions["token"]))
        own = own / own.norm(dim=1, keepdim=True) * (1 - along.square().sum(1, keepdim=True)).sqrt()
        embeddings = along @ torch.stack([self.directions[name] for name in self.roles]) + own @ self.directions["token"]
        # a mean in the residual stream is seen by no layer norm
        self.model.transformer.wte.weight.copy_(embeddings + 0.1 * self._random(n, 1))
        self.model.transformer.wpe.weight.copy_(self._waves() @ self.directions["position"] + 0.1 * self._random(CONTEXT, 1))

    def _frequencies(self) -> Tensor:
        return torch.pi * (torch.arange(D_HEAD // 2) + 0.5) / (D_HEAD // 2)

    def _waves(self) -> Tensor:
        """(context, d_head): of norm 1, orthogonal to one another, opposite at a distance of d_head."""
        angles = torch.arange(CONTEXT)[:, None] * self._frequencies()
        return torch.cat([angles.cos(), angles.sin()], dim=1) / (D_HEAD // 2) ** 0.5

    def _write_heads(self) -> None:
        attention = self.model.transformer.h[0].attn
        cos, sin = self._frequencies().cos().diag(), self._frequencies().sin().diag()
        one_back = torch.cat([torch.cat([cos, -sin], dim=1), torch.cat([sin, cos], dim=1)])
        query, key, value = attention.c_attn.weight.split(D_MODEL, dim=1)
        for head, (name, back) in enumerate(self.copied.items()):
            own = slice(head * D_HEAD, (head + 1) * D_HEAD)
            # embeddings of norm sqrt(2) leave the layer norm 8 times as long: a score of 64 * 1.2**2 / sqrt(32) = 16
            query[:, own] = 1.2 * self.directions["position"].T @ torch.linalg.matrix_power(one_back, back)
            key[:, own] = 1.2 * self.directions["position"].T
            value[:, own] = 0
            value[:, own.start] = self.directions[name] / (8 * IN_CLASS)
            attention.c_proj.weight[own] = 0
            attention.c_proj.weight[own.start] = self.directions[f"after {name}"]

    def _fill(self, places: list[list[int]]) -> tuple[tuple[int, int], ...]:
        """Write the fillers; places of the constant ones."""
        constant = [(layer, index) for layer, left in enumerate(places) for index in left[: len(left) // 2]]
        for layer, index in constant:
            self.set_neuron(layer, index, torch.zeros(D_MODEL), 1.0)
        for layer, left in enumerate(places):
            for index in left[len(left) // 2 :]:
                # near 0 the next best thing would decide about tokens that it does not read; below, all but a few tokens
                # would look alike
                self.set_neuron(layer, index, self.dense(), 0.5 + 0.1 * float(self._random(1)))
        return tuple(constant)

    def dense(self) -> Tensor:
        """(d_model,) of norm 1: random in all directions that fillers read."""
        dense = self._random(D_MODEL)
        dense = dense - self.unread_basis @ (self.unread_basis.T @ dense)
        return dense / dense.norm()

    def set_neuron(self, layer: int, index: int, w_in: Tensor, b_in: float) -> None:
        """Give a neuron its input weights and an output that later neurons hardly notice."""
        mlp = self.model.transformer.h[layer].mlp
        mlp.c_fc.weight[:, index] = w_in
        mlp.c_fc.bias[index] = b_in
        mlp.c_proj.weight[index] = 0.03 * self._random(D_MODEL) / D_MODEL**0.5

    def _unfold(self) -> None:
        """Random layer-norm gains and biases, taken back in the weights that read them."""
        for block in self.model.transformer.h:
            for norm, reader in ((block.ln_1, block.attn.c_attn), (block.ln_2, block.mlp.c_fc)):
                self._randomise(norm)
                reader.weight.copy_(reader.weight / norm.weight[:, None])
                reader.bias.sub_(norm.bias @ reader.weight)
        self._randomise(self.model.transformer.ln_f)  # the tied unembedding takes nothing back

    def _randomise(self, norm: nn.LayerNorm) -> None:
        norm.weight.copy_(torch.exp(0.3 * self._random(D_MODEL)))
        norm.bias.copy_(0.2 * self._random(D_MODEL))


class _LexicalBuilder(Builder):
    """Neurons of a unigram, a letter, the numbers, and what follows a word."""

    roles = CLASSES
    copied: ClassVar = {"followed": 1}

    def parts(self) -> Tensor:
        along = super().parts()
        along[list(self.classes["begins"]), self.roles.index("letter")] = BEGINS_WITH
        return along

    def plant(self, places: list[list[int]]) -> tuple[PlantedNeuron, ...]:
        # a neuron of one word in all its spellings detects these, and the letter's is one of a word
        wanted = (
            (0, "unigram", "unigram", UNIGRAM, "unigram", (("token_detector", UNIGRAM),)),
            (0, "letter", "alphabet", LETTER, "letter", (("unigram", LETTER),)),
            (0, "numbers", "token_class", "all_numeric", "numbers", ()),
            (1, "after followed", "previous_token", f"{FOLLOWED}_unigram", "followed", ()),
        )
        planted = []
        for layer, direction, family, subtype, ids, also in wanted:
            index = places[layer].pop()
            planted.append(PlantedNeuron(layer, index, family, subtype, tuple(self.classes[ids]), also))
            self.set_neuron(layer, index, self.directions[direction] + 0.01 * self._random(D_MODEL), -1.0)
        return tuple(planted)
