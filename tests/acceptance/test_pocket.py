"""The pocket family against a plain float64 computation over all tokens at once.

Three models on a few thousand tokens in `make test`; all five on 50,000 tokens, and on the whole corpus, in `make evidence`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from catalog.settings import home
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.corpus.counts import count_tokens, row_counts
from ingest.corpus.files import CorpusSource
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import TokenizerInfo, tokenizer_identity
from ingest.features.topics import BY_MACHINE, Topics, topic_features, topic_model
from ingest.features.unigrams import unigram_features
from ingest.features.vocabulary import FeatureTable, vocabulary_features
from ingest.statistics.correlation import rotation
from ingest.statistics.jackknife import HALF
from tests import factories, references
from tests.acceptance.ingests import assert_same, contract, rows, run_ingest
from tests.evidence import Compared, write_table

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "pocket" / "corpus" / "heldout.jsonl.gz"
PARTS = ("weights", "activations", "correlations", "vocabulary", "distributions", "topics")
"""What is computed here the plain way; planted models and small ones show the other parts."""
BLOCK = 64
"""Rotated units at a time: the whole corpus in float64 does not fit the memory more than once."""


@dataclass(frozen=True)
class Extent:
    """How much is compared."""

    title: str
    seeds: str
    max_tokens: int | None
    """None: the whole corpus."""
    sample: int
    """Neurons per model whose universality is computed the plain way, against all neurons of the others."""

    @property
    def models(self) -> list[Path]:
        return [ROOT / "pocket" / "models" / f"pocket-gpt2-{seed}" for seed in self.seeds]


DRAWS = 2
"""Of rotations, of which every layer of every model takes a product of all activations."""
SMALL = Extent("a part of the pocket corpus", "abd", 4_000, 6)
LARGE = Extent("50,000 tokens of the pocket corpus", "abcde", 50_000, 40)
WHOLE = Extent("the whole pocket corpus", "abcde", None, 40)


@dataclass
class Plain:
    """All activations at once."""

    extent: Extent
    info: TokenizerInfo
    corpus: TokenCorpus
    current: np.ndarray
    previous: np.ndarray
    post: list[np.ndarray]
    """Per model (kept, neurons) fp32."""
    pre_sample: list[np.ndarray]
    shas: list[str]
    n_layers: int
    features: FeatureTable
    subset: np.ndarray
    """Name of the subset of each kept position."""
    chose: np.ndarray
    """Whether each kept position is of the half of the documents that chooses features."""
    compared: Compared = field(default_factory=Compared)

    @property
    def names(self) -> list[str]:
        return [path.name for path in self.extent.models]

    def having(self) -> dict[tuple[str, str], np.ndarray]:
        """Which positions have each feature, by its name and shift."""
        found = {(f"subset_{name}", "current"): self.subset == name for name in self.corpus.subset_names}
        for name, members in zip(self.features.names, self.features.matrix, strict=True):
            found |= {(name, "current"): members[self.current], (name, "previous"): members[self.previous]}
        return found


def all_at_once(folder: Path, extent: Extent) -> Plain:
    """Forward passes of the raw models, everything kept; post goes to disk, for the whole corpus is large."""
    device = torch.device("cpu")
    checkpoints = [open_checkpoint(parse_model_argument(str(path)), device) for path in extent.models]
    info = tokenizer_identity(checkpoints[0].tokenizer)
    first = checkpoints[0]
    limit = extent.max_tokens
    corpus = tokenise(CorpusSource(str(CORPUS)), info, first.tokenizer, first.n_ctx, limit, 0, False, home() / "corpora")
    tokens = np.asarray(corpus.tokens, dtype=np.int64)
    kept = ~np.isin(tokens, [info.bos_id, info.eos_id, info.newline_id])
    previous = np.roll(tokens, 1, axis=1)
    n_neurons = checkpoints[0].n_layers * checkpoints[0].d_mlp
    post, pre = [], []
    for number, checkpoint in enumerate(checkpoints):
        # on disk a neuron's activations lie together, for that is how they are read
        values = np.lib.format.open_memmap(folder / f"{number}.npy", "w+", np.float32, (n_neurons, int(kept.sum()))).T
        pre_values = np.empty((int(kept.sum()), 8), dtype=np.float32)
        done = 0
        for start in range(0, len(tokens), 64):
            layers = checkpoint.mlp_activations(torch.from_numpy(tokens[start : start + 64]))
            mask = kept[start : start + 64]
            batch = np.concatenate([layer[1].numpy()[mask] for layer in layers], axis=1)
            values[done : done + len(batch)] = batch
            pre_values[done : done + len(batch)] = layers[0][0].numpy()[mask][:, :8]
            done += len(batch)
        post.append(values)
        pre.append(pre_values)
    counts = count_tokens(corpus, info.n_tokens)
    texts = info.texts
    topics = topic_features(Topics(BY_MACHINE, topic_model(row_counts(corpus, info.n_tokens), texts)), info.n_tokens)
    unigrams = unigram_features(info.strings, counts.current, counts.n_kept, info.masked_ids)
    subset = np.array(corpus.subset_names, dtype=object)[corpus.subset_ids]
    return Plain(
        extent=extent,
        info=info,
        corpus=corpus,
        current=tokens[kept],
        previous=previous[kept],
        post=post,
        pre_sample=pre,
        shas=[checkpoint.identity.sha256 for checkpoint in checkpoints],
        n_layers=checkpoints[0].n_layers,
        features=FeatureTable.concatenate([vocabulary_features(info.strings), unigrams, topics]),
        subset=np.repeat(subset, kept.sum(axis=1)),
        chose=np.repeat(corpus.block_ids < HALF, kept.sum(axis=1)),
    )


LONG = [pytest.param(extent, id=name, marks=pytest.mark.evidence) for name, extent in (("large", LARGE), ("whole", WHOLE))]


@pytest.fixture(params=[pytest.param(SMALL, id="small"), *LONG])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Plain]:
    made = all_at_once(tmp_path, request.param)
    yield made
    made.post.clear()


def profile(url: str, columns: str, model: str) -> pd.DataFrame:
    found = rows(url, f"SELECT {columns} FROM neuron_profiles WHERE model = :model ORDER BY layer, neuron", model=model)
    return pd.DataFrame(found, columns=columns.split(", "))


def test_pocket_family_agrees_with_float64(database_url: str, plain: Plain) -> None:
    models, limit = plain.extent.models, plain.extent.max_tokens
    first = run_ingest(database_url, models, CORPUS, max_tokens=limit, top_k=10, baseline_draws=DRAWS, only=PARTS)
    check_pairs(database_url, plain)
    check_moments(database_url, plain)
    check_universality(database_url, plain)
    check_explanations(database_url, plain)
    check_weights(database_url, plain)
    if limit is not None:
        second = run_ingest(
            database_url, models, CORPUS, max_tokens=limit, top_k=10, baseline_draws=DRAWS, only=PARTS, again=True,
            batch_tokens=1500, memory_gb=0.03,
        )  # fmt: skip
        assert_same(contract(database_url, first.run_id), contract(database_url, second.run_id))
    title = f"The catalog and a plain float64 computation, {len(models)} models, {plain.extent.title}"
    write_table(title, ("what", "numbers", "largest difference"), plain.compared.rows())


def check_pairs(url: str, plain: Plain) -> None:
    """200 random stored pairs."""
    found = rows(
        url,
        """SELECT model, layer, neuron, other_model, other_layer, other_neuron, correlation FROM neuron_matches
           ORDER BY md5(model || layer || '.' || neuron || other_model || rank) LIMIT 200""",
    )
    assert len(found) == 200
    d_mlp = plain.post[0].shape[1] // plain.n_layers
    names = plain.names
    for model, layer, neuron, other_model, other_layer, other_neuron, stored in found:
        x = plain.post[plain.names.index(model)][:, layer * d_mlp + neuron][:, None]
        y = plain.post[names.index(other_model)][:, other_layer * d_mlp + other_neuron][:, None]
        expected = references.correlation(x, y).item()
        assert stored == pytest.approx(expected, abs=1e-5)
        plain.compared.note("correlation of a pair of neurons", stored, expected)


def check_moments(url: str, plain: Plain) -> None:
    """Post-moments of all neurons of one model, pre-moments of eight neurons of each."""
    for number, name in enumerate(plain.names):
        stored = profile(url, "mean, var, skew, kurt, sparsity, post_mean, post_var, post_skew, post_kurt", name)
        expected = references.moments(plain.pre_sample[number])
        pre = stored[:8]
        np.testing.assert_allclose(pre["mean"], expected["mean"], atol=1e-5 * np.sqrt(expected["var"]).min())
        for moment in ("var", "skew", "kurt"):
            np.testing.assert_allclose(pre[moment], expected[moment], rtol=1e-5, atol=1e-5)
            plain.compared.note(f"{moment} of pre-activations", pre[moment], expected[moment])
        np.testing.assert_array_equal(pre["sparsity"], (plain.pre_sample[number] > 0).mean(0))
        sample = slice(None) if number == 0 and plain.extent.max_tokens is not None else slice(None, None, 19)
        post = references.moments(plain.post[number][:, sample])
        np.testing.assert_allclose(stored["post_mean"][sample], post["mean"], atol=1e-5 * np.sqrt(post["var"]).min())
        for moment in ("var", "skew", "kurt"):
            np.testing.assert_allclose(stored[f"post_{moment}"][sample], post[moment], rtol=1e-5, atol=1e-5)
            plain.compared.note(f"{moment} of activations", stored[f"post_{moment}"][sample], post[moment])


def check_universality(url: str, plain: Plain) -> None:
    """Excess correlation of a sample of neurons: all partners, and activations rotated directly."""
    n_neurons = plain.post[0].shape[1]
    d_mlp = n_neurons // plain.n_layers
    sample = np.sort(np.random.default_rng(1).choice(n_neurons, plain.extent.sample, replace=False))
    own = [references.centred_rows(post[:, sample].T) for post in plain.post]
    n_models = len(plain.post)
    best = np.full((n_models, n_models, len(sample)), np.nan)
    base = np.full((DRAWS, *best.shape), np.nan)
    for b, post in enumerate(plain.post):
        for layer in range(plain.n_layers):
            y = references.centred_rows(post[:, layer * d_mlp : (layer + 1) * d_mlp].T)
            for a in (a for a in range(n_models) if a != b):
                best[a, b] = np.fmax(best[a, b], np.nanmax(references.correlation_of_centred(own[a], y), axis=1))
                for draw, block in product(range(DRAWS), range(0, d_mlp, BLOCK)):
                    turned = rotation(0, plain.shas[a], plain.shas[b], layer, draw, d_mlp).double().numpy()
                    found = references.correlation_of_centred(own[a], turned[block : block + BLOCK] @ y)
                    base[draw, a, b] = np.fmax(base[draw, a, b], np.nanmax(found, axis=1))
    base = base.mean(axis=0)
    for a, name in enumerate(plain.names):
        stored = profile(url, "mean_corr, mean_baseline, excess_corr", name).iloc[sample].astype(float)
        np.testing.assert_allclose(stored["mean_corr"], np.nanmean(best[a], axis=0), atol=1e-5)
        np.testing.assert_allclose(stored["mean_baseline"], np.nanmean(base[a], axis=0), atol=1e-5)
        excess = np.nanmean(best[a], axis=0) - np.nanmean(base[a], axis=0)
        np.testing.assert_allclose(stored["excess_corr"], excess, atol=1e-5)
        plain.compared.note("excess correlation of a neuron", stored["excess_corr"], excess)


def check_explanations(url: str, plain: Plain) -> None:
    """The stored variance reductions of 30 neurons, and that no feature does better in the half that chooses than the first."""
    having = plain.having()
    d_mlp = plain.post[0].shape[1] // plain.n_layers
    found = rows(
        url,
        """SELECT model, layer, neuron, feature, shift, variance_reduction, n_in, mean_in, mean_out, cohen_d,
                  chosen_variance_reduction
           FROM neuron_explanations WHERE neuron % 61 = 0 AND model IN ('pocket-gpt2-a', 'pocket-gpt2-d')
           ORDER BY model, layer, neuron, rank""",
    )
    assert len(found) > 50
    for model, layer, neuron, feature, shift, reduction, n_in, mean_in, mean_out, cohen_d, *_ in found:
        x = plain.post[plain.names.index(model)][:, layer * d_mlp + neuron].astype(np.float64)
        inside = having[feature, shift]
        assert n_in == inside.sum()
        explained = references.variance_reduction(x, inside)
        assert reduction == pytest.approx(explained, abs=1e-5)
        plain.compared.note("variance reduction by a feature", reduction, explained)
        assert mean_in == pytest.approx(x[inside].mean(), abs=1e-5 * x.std())
        assert mean_out == pytest.approx(x[~inside].mean(), abs=1e-5 * x.std())
        pooled = np.sqrt((inside.sum() * x[inside].var() + (~inside).sum() * x[~inside].var()) / len(x))
        assert cohen_d == pytest.approx((x[inside].mean() - x[~inside].mean()) / pooled, rel=1e-4, abs=1e-5)
    model, layer, neuron, *_ = found[0]
    x = plain.post[plain.names.index(model)][:, layer * d_mlp + neuron].astype(np.float64)
    x, halves = x[plain.chose], [inside[plain.chose] for inside in having.values()]
    best = max(references.variance_reduction(x, inside) for inside in halves if 100 <= inside.sum() <= len(x) - 100)
    assert found[0][10] == pytest.approx(best, abs=1e-5)


def check_weights(url: str, plain: Plain) -> None:
    """Norms, bias, cosine and vocabulary moments, from raw weights folded and centred here in float64."""
    for path in plain.extent.models[:2]:
        model = factories.load_raw(path).double()
        w_u = model.lm_head.weight.T * model.transformer.ln_f.weight[:, None]
        w_u = w_u - w_u.mean(0)
        w_u = (w_u - w_u.mean(1, keepdim=True))[:, : plain.info.n_tokens]
        expected: dict[str, list[np.ndarray]] = {name: [] for name in ("w_in_norm", "w_out_norm", "input_bias", "in_out_sim")}
        cosines = []
        for block in model.transformer.h:
            gain, shift = block.ln_2.weight, block.ln_2.bias
            w_in = block.mlp.c_fc.weight * gain[:, None]
            w_in = w_in - w_in.mean(0)
            w_out = block.mlp.c_proj.weight - block.mlp.c_proj.weight.mean(1, keepdim=True)
            expected["w_in_norm"].append(w_in.norm(dim=0).detach().numpy())
            expected["w_out_norm"].append(w_out.norm(dim=1).detach().numpy())
            expected["input_bias"].append((block.mlp.c_fc.bias + shift @ block.mlp.c_fc.weight).detach().numpy())
            expected["in_out_sim"].append(((w_in.T * w_out).sum(1) / (w_in.norm(dim=0) * w_out.norm(dim=1))).detach().numpy())
            cosines.append(((w_out / w_out.norm(dim=1, keepdim=True)) @ (w_u / w_u.norm(dim=0))).detach().numpy())
        vocabulary = "vocab_mean, vocab_var, vocab_skew, vocab_kurt"
        stored = profile(url, f"w_in_norm, w_out_norm, input_bias, in_out_sim, l2_penalty, {vocabulary}", path.name)
        for name, values in expected.items():
            np.testing.assert_allclose(stored[name], np.concatenate(values), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(stored["l2_penalty"], stored["w_in_norm"] ** 2 + stored["w_out_norm"] ** 2)
        moments = references.moments(np.concatenate(cosines).T)
        for name, values in moments.items():
            np.testing.assert_allclose(stored[f"vocab_{name}"], values, rtol=1e-4, atol=1e-5)
            plain.compared.note(f"{name} of cosines with the vocabulary", stored[f"vocab_{name}"], values)
