"""The planted family is what it says: the tests that recover it through the whole pipeline rest on this."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.corpus.files import CorpusSource
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import TokenizerInfo, tokenizer_identity
from ingest.features.unigrams import unigram_features
from ingest.features.vocabulary import vocabulary_features
from tests.planted import CONTEXT, D_MLP, N_LAYERS, PlantedFamily, planted_family
from tests.planted_texts import FOLLOWED, LETTERS, UNIGRAM

LEAST_REDUCTION = {"unigram": 0.9, "alphabet": 0.9, "token_class": 0.5, "previous_token": 0.3}
LABEL_THRESHOLDS = {"current": 0.37, "previous": 0.2}
"""The lowest at which a filler's best feature could earn it a label."""


@dataclass(frozen=True)
class Observed:
    """Everything at the kept positions of the corpus."""

    info: TokenizerInfo
    current: np.ndarray
    previous: np.ndarray
    post: np.ndarray
    """(kept, layers, d_mlp) float64 of model 'a'."""


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlantedFamily:
    return planted_family(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def observed(family: PlantedFamily, tmp_path_factory: pytest.TempPathFactory) -> Observed:
    checkpoint = open_checkpoint(parse_model_argument(str(family.a)), torch.device("cpu"))
    info = tokenizer_identity(family.tokenizer)
    cache = tmp_path_factory.mktemp("cache")
    corpus = tokenise(CorpusSource(str(family.corpus)), info, family.tokenizer, CONTEXT, None, 0, False, cache)
    rows = np.asarray(corpus.tokens, dtype=np.int64)
    kept = corpus.kept_mask(rows)
    before = np.concatenate([np.full((len(rows), 1), -1), rows[:, :-1]], axis=1)
    layers = checkpoint.mlp_activations(torch.from_numpy(rows))
    post = np.stack([post.double().numpy()[kept] for _, post in layers], axis=1)
    return Observed(info, rows[kept], before[kept], post)


def reductions(members: np.ndarray, ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Variance reductions (SPEC §6.1), (classes, columns); 0 where a class or its rest has fewer than 100 positions.

    Args:
        members: (classes, token ids) bool.
        ids: token id of each position; -1 belongs to no class.
        values: (positions, columns).
    """
    sums = np.zeros((members.shape[1], values.shape[1]))
    np.add.at(sums, ids[ids >= 0], values[ids >= 0])
    n_in = members @ np.bincount(ids[ids >= 0], minlength=members.shape[1])
    n_out = len(ids) - n_in
    supported = (n_in >= 100) & (n_out >= 100)
    sum_in = members.astype(float) @ sums
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = sum_in / n_in[:, None] - (values.sum(0) - sum_in) / n_out[:, None]
        share = (n_in * n_out / len(ids) ** 2)[:, None] * difference**2 / values.var(0)
    return np.where(supported[:, None] & (values.var(0) > 1e-12), share, 0.0)


def test_each_form_of_each_planted_word_is_one_token(family: PlantedFamily) -> None:
    for word in (UNIGRAM, FOLLOWED, *LETTERS):
        for text in (word, f" {word}", word.capitalize(), f" {word.capitalize()}"):
            assert len(family.tokenizer(text, add_special_tokens=False)["input_ids"]) == 1, text


def test_planted_neurons_separate_their_tokens(family: PlantedFamily, observed: Observed) -> None:
    for neuron in family.neurons:
        ids = observed.previous if neuron.family == "previous_token" else observed.current
        members = np.isin(ids, neuron.token_ids)
        assert members.sum() > 300
        values = observed.post[:, neuron.layer, [neuron.index]]
        (reduction,) = reductions(np.array([[False, True]]), members.astype(int), values)
        assert reduction > LEAST_REDUCTION[neuron.family], neuron
        assert values[members].mean() > 2 > 0.1 > values[~members].mean()


def test_the_letter_comes_before_its_words_and_these_before_the_rest(family: PlantedFamily, observed: Observed) -> None:
    (neuron,) = (neuron for neuron in family.neurons if neuron.family == "alphabet")
    bare = np.array([text.lower().strip() for text in observed.info.strings])
    letter = bare[observed.current] == neuron.subtype
    begins = np.char.startswith(bare[observed.current], neuron.subtype) & ~letter
    values = observed.post[:, neuron.layer, neuron.index]
    assert begins.sum() > 100
    assert values[letter].mean() > values[begins].mean() + 1 > values[~letter & ~begins].mean() + 1


def test_best_features_are_those_planted_and_fillers_have_none(family: PlantedFamily, observed: Observed) -> None:
    strings, n_kept = observed.info.strings, len(observed.current)
    counts = np.bincount(observed.current, minlength=len(strings))
    tables = [vocabulary_features(strings), unigram_features(strings, counts, n_kept, sorted(observed.info.masked_ids))]
    names = [name for table in tables for name in table.names]
    matrix = np.concatenate([table.matrix for table in tables])
    values = observed.post.reshape(n_kept, -1)
    found = {
        "current": reductions(matrix, observed.current, values),
        "previous": reductions(matrix, observed.previous, values),
    }
    planted = {neuron.layer * D_MLP + neuron.index: neuron for neuron in family.neurons}
    for flat in range(N_LAYERS * D_MLP):
        best = {shift: (scores[:, flat].max(), names[scores[:, flat].argmax()]) for shift, scores in found.items()}
        if flat in planted:
            neuron = planted[flat]
            shift, other = ("previous", "current") if neuron.family == "previous_token" else ("current", "previous")
            expected = f"{neuron.subtype}_unigram" if neuron.family in ("unigram", "alphabet") else neuron.subtype
            assert best[shift][1] == expected and best[shift][0] > best[other][0]
        else:
            assert best["current"][0] < LABEL_THRESHOLDS["current"] - 0.05, best
            assert best["previous"][0] < LABEL_THRESHOLDS["previous"] - 0.05, best


def test_at_least_fifty_fillers_half_of_them_constant(family: PlantedFamily, observed: Observed) -> None:
    n_fillers = N_LAYERS * D_MLP - len(family.neurons)
    assert n_fillers >= 50 and abs(2 * len(family.constant) - n_fillers) <= N_LAYERS
    spread = observed.post.max(0) - observed.post.min(0)
    constant = np.zeros_like(spread, dtype=bool)
    constant[tuple(np.array(family.constant).T)] = True
    assert (spread[constant] < 1e-5).all() and (spread[~constant] > 0.5).all()


def test_processing_accepts_both_models_and_the_copy_is_permuted(family: PlantedFamily) -> None:
    tokens = torch.randint(300, (2, CONTEXT), generator=torch.Generator().manual_seed(0))
    models = [open_checkpoint(parse_model_argument(str(folder)), torch.device("cpu")) for folder in (family.a, family.b)]
    for model in models:
        model.process(len(family.tokenizer))
    assert models[0].identity.weights_sha256 != models[1].identity.weights_sha256
    for layer, ((_, post_a), (_, post_b)) in enumerate(zip(*(m.mlp_activations(tokens) for m in models), strict=True)):
        order = torch.from_numpy(family.permutation[layer])
        torch.testing.assert_close(post_b, post_a[..., order], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(models[1].weights.W_in[layer], models[0].weights.W_in[layer][:, order], atol=1e-6, rtol=1e-5)
