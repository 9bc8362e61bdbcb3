"""A small real GPT-2 whose neurons do what they are told, and a copy of it with the neurons permuted.

The weights are built in folded form, then unfolded with random layer-norm gains and biases, so a wrong folding is seen.
In d_model = 128 an orthonormal basis of all directions without a mean gives every role its own directions:

- each token class (a unigram, a letter, the numbers, the word whose successor is marked) has one; token embeddings have
  norm 1, the rest of it in random directions of their own, so that a layer norm divides all of them by nearly the same;
- positions are orthonormal waves, so that head 0 of layer 0 can look one position back: its queries are its keys, turned
  by one step. It copies the class direction `followed` into the direction `after`, which a neuron of layer 1 reads.

A planted neuron reads one direction with gain 1 and bias -1: about 4.5 where it should fire, -1 elsewhere. Fillers are
half constant (w_in 0, b_in 1), half random and dense in all directions without a role.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tests.factories import UNUSED_IDS, byte_bpe_tokenizer, permuted_copy, save_checkpoint, write_jsonl

D_MODEL, N_HEADS, N_LAYERS, D_MLP, CONTEXT = 128, 4, 2, 60, 64
D_HEAD = D_MODEL // N_HEADS
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LETTER, UNIGRAM, FOLLOWED = "k", "on", "of"
COMMON = "the and that was for with his they from have had but what were when there your which their said will each".split()
BEGINNING = ["know", "keep"]
"""Words that begin with the letter; without them start_w_k would be the same feature as k_unigram."""
CLASSES = ("unigram", "letter", "numbers", "followed")
IN_CLASS = 0.7
"""Part of a class token's unit embedding that lies along the direction of its class."""
BEGINS_WITH = 0.2
"""The same for tokens that only begin with the letter: the alphabet rule wants letter > beginning > rest."""


@dataclass(frozen=True)
class PlantedNeuron:
    """Where a neuron of the model 'a' is, and the family and subtype that it must get."""

    layer: int
    index: int
    family: str
    subtype: str
    token_ids: tuple[int, ...]
    """The ids that it fires on, or right after."""

    @property
    def labels(self) -> set[tuple[str, str]]:
        """All its labels (family, subtype); a letter's neuron is also one of a unigram."""
        own = {(self.family, self.subtype)}
        return own | {("unigram", self.subtype)} if self.family == "alphabet" else own


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


def planted_texts(n_documents: int = 150, seed: int = 0, words_each: int = 150) -> list[str]:
    """Words in random order: common ones, the planted ones, single letters and numbers, with and without space and capital."""
    generator = np.random.default_rng(seed)
    kinds = {UNIGRAM: 0.06, FOLLOWED: 0.08, LETTER: 0.04, "letter": 0.1, "number": 0.06, "begins": 0.06, "common": 0.6}
    texts = []
    for _ in range(n_documents):
        text = ""
        for kind in generator.choice(list(kinds), size=words_each, p=list(kinds.values())):
            word = {
                "letter": LETTERS[generator.integers(26)],
                "begins": BEGINNING[generator.integers(len(BEGINNING))],
                "number": str(generator.integers(100)),
                "common": COMMON[generator.integers(len(COMMON))],
            }.get(str(kind), str(kind))
            word = word.capitalize() if generator.random() < 0.3 else word
            text += word + str(generator.choice([" ", "-", ", ", ".\n", ""], p=[0.84, 0.06, 0.04, 0.04, 0.02]))
        texts.append(text)
    return texts


def planted_family(folder: Path, seed: int = 0, n_documents: int = 150) -> PlantedFamily:
    """Write both models and the corpus below `folder`."""
    texts = planted_texts(n_documents, seed)
    forms = [shape for word in (UNIGRAM, FOLLOWED, *LETTERS) for shape in _forms(word)]
    forms += [shape for word in BEGINNING for shape in _forms(word)]
    tokenizer = byte_bpe_tokenizer(texts=texts, vocab_size=420, whole_tokens=forms)
    classes = token_classes(tokenizer)
    builder = _Builder(seed, tokenizer, classes)
    save_checkpoint(builder.model, tokenizer, folder / "planted-a")
    permutation = permuted_copy(folder / "planted-a", folder / "planted-b", seed + 1)
    rows = [{"text": text, "subset": ("first", "second")[i % 2]} for i, text in enumerate(texts)]
    return PlantedFamily(
        a=folder / "planted-a",
        b=folder / "planted-b",
        corpus=write_jsonl(folder / "corpus.jsonl", rows),
        tokenizer=tokenizer,
        neurons=builder.planted,
        constant=builder.constant,
        permutation=permutation,
    )


def _forms(word: str) -> list[str]:
    return [space + shape for space in ("", " ") for shape in (word, word.capitalize())]


def token_classes(tokenizer: PreTrainedTokenizerFast) -> dict[str, list[int]]:
    """Ids of each class of `CLASSES`, and of the tokens that begin with the letter without being it."""
    strings = [tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in range(len(tokenizer))]
    bare = [string.lower().strip() for string in strings]
    return {
        "unigram": [i for i, text in enumerate(bare) if text == UNIGRAM],
        "letter": [i for i, text in enumerate(bare) if text == LETTER],
        "numbers": [i for i, text in enumerate(bare) if text.isdecimal()],
        "followed": [i for i, text in enumerate(bare) if text == FOLLOWED],
        "begins": [i for i, text in enumerate(bare) if text.startswith(LETTER) and text != LETTER],
    }


class _Builder:
    """Writes the planted weights into a GPT-2."""

    def __init__(self, seed: int, tokenizer: PreTrainedTokenizerFast, classes: dict[str, list[int]]) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.classes = classes
        self.directions = self._directions()
        self.model = GPT2LMHeadModel(
            GPT2Config(
                n_layer=N_LAYERS,
                n_embd=D_MODEL,
                n_inner=D_MLP,
                n_head=N_HEADS,
                n_positions=CONTEXT,
                vocab_size=len(tokenizer) + UNUSED_IDS,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        ).eval()
        self.planted: tuple[PlantedNeuron, ...] = ()
        self.constant: tuple[tuple[int, int], ...] = ()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(self._random(*parameter.shape) * (0.02 if parameter.ndim > 1 else 0.05))
            self._write_embeddings()
            self._write_previous_position_head()
            self._write_neurons()
            self._unfold()

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def _directions(self) -> dict[str, Tensor]:
        """Orthonormal rows without a mean: `position` (d_head, d_model), one for each class and `after`, `token` the rest."""
        start = torch.cat([torch.ones(D_MODEL, 1), self._random(D_MODEL, D_MODEL - 1)], dim=1)
        basis = torch.linalg.qr(start)[0].T[1:]
        named = {name: basis[D_HEAD + i] for i, name in enumerate((*CLASSES, "after"))}
        return {"position": basis[:D_HEAD], "token": basis[D_HEAD + len(named) :], **named}

    def _write_embeddings(self) -> None:
        n = self.model.config.vocab_size
        along = torch.zeros(n, len(CLASSES))
        for column, name in enumerate(CLASSES):
            along[self.classes[name], column] = IN_CLASS
        along[self.classes["begins"], CLASSES.index("letter")] = BEGINS_WITH
        own = self._random(n, len(self.directions["token"]))
        own = own / own.norm(dim=1, keepdim=True) * (1 - along.square().sum(1, keepdim=True)).sqrt()
        embeddings = along @ torch.stack([self.directions[name] for name in CLASSES]) + own @ self.directions["token"]
        # a mean in the residual stream is seen by no layer norm
        self.model.transformer.wte.weight.copy_(embeddings + 0.1 * self._random(n, 1))
        self.model.transformer.wpe.weight.copy_(self._waves() @ self.directions["position"] + 0.1 * self._random(CONTEXT, 1))

    def _frequencies(self) -> Tensor:
        return torch.pi * (torch.arange(D_HEAD // 2) + 0.5) / (D_HEAD // 2)

    def _waves(self) -> Tensor:
        """(context, d_head): of norm 1, orthogonal to one another, opposite at a distance of d_head."""
        angles = torch.arange(CONTEXT)[:, None] * self._frequencies()
        return torch.cat([angles.cos(), angles.sin()], dim=1) / (D_HEAD // 2) ** 0.5

    def _write_previous_position_head(self) -> None:
        attention = self.model.transformer.h[0].attn
        cos, sin = self._frequencies().cos().diag(), self._frequencies().sin().diag()
        one_back = torch.cat([torch.cat([cos, -sin], dim=1), torch.cat([sin, cos], dim=1)])
        query, key, value = attention.c_attn.weight.split(D_MODEL, dim=1)
        # embeddings of norm sqrt(2) leave the layer norm 8 times as long: a score of 64 * 1.2**2 / sqrt(32) = 16 one back
        query[:, :D_HEAD] = 1.2 * self.directions["position"].T @ one_back
        key[:, :D_HEAD] = 1.2 * self.directions["position"].T
        value[:, :D_HEAD] = 0
        value[:, 0] = self.directions["followed"] / (8 * IN_CLASS)
        attention.c_proj.weight[:D_HEAD] = 0
        attention.c_proj.weight[0] = self.directions["after"]

    def _write_neurons(self) -> None:
        wanted = (
            (0, "unigram", "unigram", UNIGRAM, "unigram"),
            (0, "letter", "alphabet", LETTER, "letter"),
            (0, "numbers", "token_class", "all_numeric", "numbers"),
            (1, "after", "previous_token", f"{FOLLOWED}_unigram", "followed"),
        )
        places = [torch.randperm(D_MLP, generator=self.generator).tolist() for _ in range(N_LAYERS)]
        planted = []
        for layer, direction, family, subtype, ids in wanted:
            index = places[layer].pop()
            planted.append(PlantedNeuron(layer, index, family, subtype, tuple(self.classes[ids])))
            self._set(layer, index, self.directions[direction] + 0.01 * self._random(D_MODEL), -1.0)
        self.planted = tuple(planted)
        constant = []
        for layer, left in enumerate(places):
            for number, index in enumerate(left):
                if number < len(left) // 2:
                    constant.append((layer, index))
                    self._set(layer, index, torch.zeros(D_MODEL), 1.0)
                else:
                    # a dense neuron that reads a planted direction by chance would fairly earn its label
                    roles = torch.stack([self.directions[name] for name in (*CLASSES, "after")])
                    dense = self._random(D_MODEL) / D_MODEL**0.5
                    self._set(layer, index, dense - roles.T @ (roles @ dense), 0.3 * float(self._random(1)))
        self.constant = tuple(constant)

    def _set(self, layer: int, index: int, w_in: Tensor, b_in: float) -> None:
        mlp = self.model.transformer.h[layer].mlp
        mlp.c_fc.weight[:, index] = w_in
        mlp.c_fc.bias[index] = b_in
        mlp.c_proj.weight[index] = 0.1 * self._random(D_MODEL) / D_MODEL**0.5

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
