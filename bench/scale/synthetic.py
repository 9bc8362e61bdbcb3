"""Numbers of a family of models that never existed, from a seed: latent neurons that every model has in its own order.

A latent neuron is one thing that all seeds have learnt: how universal it is, what explains it. A model shuffles the
latents; what two models share they find again as each other's best match. All of it comes in whole columns.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from catalog.documents import DocumentCounts
from catalog.rows import CorpusRow, FeatureRow, ModelRow, TokenizerRow, TokenRows
from catalog.verify.sample import STATISTICS
from ingest.statistics.jackknife import N_BLOCKS

N_LAYERS = 24
D_MLP = 4096
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CLASSES = tuple(f"class_{i:02d}" for i in range(60))
SYNTAX = ("pos_noun", "pos_verb", "dep_nsubj", "dep_det", "morph_plural", "morph_past", "ent_person", "misc_sent_start")
SUBSETS = ("arxiv", "github", "pubmed_abstracts", "europarl", "stackexchange", "freelaw", "wikipedia")
FEATURES = (
    *(FeatureRow(name, "symbol", i, f"synthetic class {i}") for i, name in enumerate(CLASSES)),
    *(FeatureRow(f"{x}_unigram", "unigram", 60 + i, f"the letter {x}") for i, x in enumerate(LETTERS)),
    *(FeatureRow(f"spacy_{x}", f"spacy_{x.split('_')[0]}", 86 + i, f"syntax: {x}") for i, x in enumerate(SYNTAX)),
    *(FeatureRow(f"subset_{x}", "subset", 94 + i, f"tokens of {x}") for i, x in enumerate(SUBSETS)),
)
BY_FEATURE = ("token_class", "unigram", "alphabet", "previous_token", "syntax", "context")
"""Families of latents that a feature of the token, of the one before it, or of the text explains."""
FAMILIES = (
    "none", *BY_FEATURE, "position", "bos", "token_detector", "ngram_detector", "dead", "near_dead",
)  # fmt: skip
SHARES = (0.40, 0.38, 0.07, 0.035, 0.005, 0.04, 0.02, 0.02, 0.003, 0.01, 0.005, 0.007, 0.005)
"""Share of the latents in each family; some are rare. Universal latents of the first remain unexplained."""
HARDLY_EVER = 5e-7
"""Activation frequency of a neuron that is nearly dead."""
SHARE_UNIVERSAL = 0.03
"""Share of the latents whose excess correlation is above a half."""
DRAWS_SD = 0.01
"""Standard deviation of a baseline over draws."""
BASELINE_SE = DRAWS_SD / 7**0.5
WITHOUT_BLOCKS = 0.0005 * (-1.0) ** np.arange(N_BLOCKS)
"""How a correlation with the best partner changes without each block of documents."""
CORR_SE = 0.0005 * (N_BLOCKS - 1) ** 0.5
"""The standard error of that."""


@dataclass(frozen=True)
class Family:
    """Latents, and each model's order of them."""

    n_models: int
    d_mlp: int
    seed: int = 0

    @property
    def n(self) -> int:
        """Neurons of a model."""
        return N_LAYERS * self.d_mlp

    def generator(self, *place: int) -> np.random.Generator:
        """Random numbers that depend on the seed and the place only."""
        return np.random.default_rng([self.seed, *place])

    @cached_property
    def excess(self) -> np.ndarray:
        """(n,) float64 excess correlation of each latent: most near 0, a few above a half."""
        generator = self.generator(1)
        common = np.clip(generator.exponential(0.07, self.n) - 0.03, -0.1, 0.49)
        return np.where(generator.random(self.n) < SHARE_UNIVERSAL, generator.uniform(0.5, 0.8, self.n), common)

    @cached_property
    def kind(self) -> np.ndarray:
        """(n,) index into FAMILIES of each latent; universal ones are more often explained."""
        generator = self.generator(2)
        kind = generator.choice(len(FAMILIES), self.n, p=SHARES)
        again = generator.choice(len(FAMILIES), self.n, p=SHARES)
        return np.where((kind == 0) & (self.excess > 0.5), again, kind)

    @cached_property
    def subtype(self) -> np.ndarray:
        """(n,) index into FEATURES of what explains the latent; a few features take most."""
        generator = self.generator(3)
        classes = np.minimum(generator.zipf(1.4, self.n) - 1, len(CLASSES) - 1)
        letters = len(CLASSES) + np.minimum(generator.zipf(1.3, self.n) - 1, len(LETTERS) - 1)
        syntax = len(CLASSES) + len(LETTERS) + generator.integers(0, len(SYNTAX), self.n)
        subsets = len(FEATURES) - len(SUBSETS) + generator.integers(0, len(SUBSETS), self.n)
        subtypes = {"unigram": letters, "alphabet": letters, "syntax": syntax, "context": subsets}
        kinds = [self.kind == FAMILIES.index(name) for name in subtypes]
        return np.select(kinds, list(subtypes.values()), classes)

    def order(self, model: int) -> np.ndarray:
        """(n,) the latent of each neuron of a model, in flat order."""
        return self.generator(4, model).permutation(self.n)

    def mutual(self, one: int, other: int) -> np.ndarray:
        """(n,) bool: the two models' neurons of this latent are each other's best match."""
        chance = np.where(self.excess > 0.2, 0.95, 0.4)
        return self.generator(5, min(one, other), max(one, other)).random(self.n) < chance

    def model_row(self, model: int, d_vocab: int) -> ModelRow:
        """What is recorded of a model."""
        return ModelRow(
            name=f"synthetic-{chr(97 + model)}", revision="", model_family="synthetic", seed=model, seed_varies="both",
            architecture="gpt2", activation_function="gelu_new", n_layers=N_LAYERS, d_model=self.d_mlp // 4 or 1,
            d_mlp=self.d_mlp, n_heads=1, d_head=self.d_mlp // 4 or 1, d_vocab=d_vocab, n_ctx=1024,
            weights_sha256=f"synthetic {self.seed} {self.d_mlp} {model}", behaviour="{}",
            identity=f"synthetic {self.seed} {self.d_mlp} {model}", weight_processing="folded", source="synthetic",
        )  # fmt: skip


def tokenizer(n_tokens: int) -> TokenizerRow:
    """A tokenizer of made-up words."""
    words = [f" w{i}" for i in range(n_tokens)]
    return TokenizerRow(f"synthetic {n_tokens}", n_tokens, 0, 1, [word.encode() for word in words], words)


def corpus(number: int, n_tokens: int) -> CorpusRow:
    """The corpus of a run; runs with another number were computed on other tokens."""
    return CorpusRow(
        name=f"synthetic-{number}", source="synthetic", revision=None, split=None, context_length=1024, n_rows=97_657,
        n_tokens=100_000_768, n_kept=99_000_000, token_sha256=f"synthetic {number} {n_tokens}", subsets={},
        token_counts=np.full(n_tokens, 99_000_000 // n_tokens, dtype=np.int64),
        read_rows=lambda numbers: TokenRows(np.zeros((len(numbers), 1024), dtype=np.int32), None),
        documents=DocumentCounts(100_000), n_files_left_out=0, n_documents=90_000,
    )  # fmt: skip


def rows_of_model(family: Family, model: int, run: int) -> dict[str, dict[str, np.ndarray]]:
    """Statistics of activations and weights of one model, without keys."""
    generator = family.generator(6, model, run)
    n = family.n
    normal = generator.standard_normal((4, n))
    skew, kurt = normal[0] + 1, 3 + 4 * normal[1] ** 2
    norm_in, norm_out = 1 + 0.2 * np.abs(normal[2]), 1 + 0.2 * np.abs(normal[3])
    sparsity = _frequencies(family, model, generator)
    activation = {
        "n_tokens": np.full(n, 99_000_000, dtype=np.int64), "degenerate": np.zeros(n, dtype=bool), "mean": -normal[2],
        "var": norm_in, "skew": skew, "kurt": kurt, "post_mean": norm_out * 0.1, "post_var": norm_out, "post_skew": skew * 2,
        "post_kurt": kurt * 2, "sparsity": sparsity,
    }  # fmt: skip
    activation |= {f"{name}_se": np.abs(activation[name]) * 0.05 for name in STATISTICS}
    weight = {
        "w_in_norm": norm_in, "w_out_norm": norm_out, "input_bias": normal[3], "in_out_sim": np.tanh(normal[2]) * 0.3,
        "l2_penalty": norm_in**2 + norm_out**2, "vocab_mean": normal[0] * 0.01, "vocab_var": norm_in * 0.01,
        "vocab_skew": normal[1], "vocab_kurt": kurt, "logit_var": norm_out * 0.02, "logit_skew": normal[2],
        "logit_kurt": kurt, "vocab_n": np.full(n, 50_257, dtype=np.int32),
    }  # fmt: skip
    return {"activation_statistics": activation, "weight_statistics": weight}


def _frequencies(family: Family, model: int, generator: np.random.Generator) -> np.ndarray:
    """(n,) float64 activation frequencies, the dead and the nearly dead among them."""
    kind = family.kind[family.order(model)]
    rare = [kind == FAMILIES.index(name) for name in ("dead", "near_dead")]
    return np.select(rare, (0.0, HARDLY_EVER), generator.beta(1.5, 6, family.n))


def partners(family: Family, one: int, other: int, k: int, run: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k best partners of one model's neurons in another.

    Returns:
        (n, k) int64 flat index in the other model, distinct in a row; (n, k) float32 correlations, falling;
        (n,) bool whether the first is mutual.
    """
    generator = family.generator(7, one, other, run)
    n, order = family.n, family.order(one)
    mutual = family.mutual(one, other)[order]
    place = np.argsort(family.order(other))
    first = np.where(mutual, place[order], generator.integers(0, n, n))
    steps = generator.integers(1, max(2, n // (2 * k)), (n, k))
    steps[:, 0] = 0
    partner = (first[:, None] + np.cumsum(steps, axis=1)) % n
    best = np.clip(family.excess[order] + 0.22 + 0.02 * generator.standard_normal(n), 0.01, 0.999)
    fall = 0.9 ** np.arange(k)
    return partner, (best[:, None] * fall).astype(np.float32), mutual


def scores(score: np.ndarray) -> dict[str, np.ndarray]:
    """The same variance reduction on all documents and on each half."""
    return {f"{half}variance_reduction": score for half in ("", "chosen_", "held_out_")}


def directions(silent: np.ndarray) -> dict[str, np.ndarray]:
    """Where neurons are more active: outside of the feature those that are silent in it, the others inside.

    Args:
        silent: (rows,) bool.
    """
    often, rarely = np.full(len(silent), 0.3), np.full(len(silent), 0.01)
    inside, outside = np.where(silent, rarely, often), np.where(silent, often, rarely)
    return {
        "frequency_in": inside,
        "frequency_out": outside,
        "rectified_in": inside,
        "rectified_out": outside,
        "partial_effect": np.where(silent, -0.8, 0.8),
        "partial_variance_reduction": np.full(len(silent), 0.2),
        "overlap": np.full(len(silent), 0.7),
    }
