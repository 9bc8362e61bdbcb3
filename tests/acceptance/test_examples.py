"""Examples of an ingest are those of a plain computation over all activations, whatever the plan."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from catalog.settings import home
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.corpus.files import CorpusSource
from ingest.corpus.rows import TokenCorpus
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.statistics.hashing import place_hashes
from tests import factories
from tests.acceptance.ingests import rows, run_ingest, small_corpus, tiny_family

pytestmark = pytest.mark.usefixtures("two_threads")

SEED = 4
COLUMNS = "model, layer, neuron, kind, rank, value, subset, row, position, token, before, after, quantile"


def published(url: str, run: int) -> pd.DataFrame:
    """All examples of a run."""
    order = "ORDER BY model, layer, neuron, kind, rank"
    found = rows(url, f"SELECT {COLUMNS} FROM history.neuron_examples WHERE run_id = :run {order}", run=run)
    return pd.DataFrame(found, columns=COLUMNS.split(", "))


def activations(model: Path, corpus: Path, batch_tokens: int) -> tuple[TokenCorpus, list[np.ndarray]]:
    """The corpus, and post of each layer, (tokens, d_mlp), in the batches of an ingest: other batches round otherwise."""
    checkpoint = open_checkpoint(parse_model_argument(str(model)), torch.device("cpu"))
    info = tokenizer_identity(checkpoint.tokenizer)
    source = CorpusSource(str(corpus))
    made = tokenise(source, info, checkpoint.tokenizer, checkpoint.n_ctx, None, SEED, False, home() / "corpora")
    tokens = torch.from_numpy(np.asarray(made.tokens, dtype=np.int64))
    layers: list[list[np.ndarray]] = [[] for _ in range(checkpoint.n_layers)]
    with torch.inference_mode():
        for batch in tokens.split(max(1, batch_tokens // tokens.shape[1])):
            for layer, (_, post) in enumerate(checkpoint.mlp_activations(batch)):
                layers[layer].append(post.flatten(0, 1).numpy())
    return made, [np.concatenate(parts) for parts in layers]


def test_they_are_the_whole_data_definition(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path, "ab"), small_corpus(tmp_path)
    report = run_ingest(database_url, models, corpus, seed=SEED, only=("examples",))
    found = published(database_url, report.run_id)
    assert set(found["model"]) == {"tiny-a", "tiny-b"}
    made, layers = activations(models[1], corpus, 4096)
    tokens = np.asarray(made.tokens)
    context = tokens.shape[1]
    kept = np.flatnonzero(made.kept_mask(tokens).ravel())
    keys = [tuple(tokens[p // context, max(0, p % context - 10) : p % context + 1].tolist()) for p in kept]
    hashes = place_hashes(torch.from_numpy(kept), SEED).numpy()
    texts = dict(rows(database_url, "SELECT token_id, text FROM tokens"))
    for (layer, neuron), own in found[found["model"] == "tiny-b"].groupby(["layer", "neuron"]):
        values = layers[layer][kept, neuron]
        expected, seen = [], set()
        for i in np.lexsort((kept, -values)):
            if keys[i] not in seen:
                seen.add(keys[i])
                expected.append((i, *divmod(int(kept[i]), context)))
        top = own[own["kind"] == "top"]
        assert top[["row", "position"]].to_records(index=False).tolist() == [tuple(place) for _, *place in expected[:50]]
        assert np.array_equal(top["value"].astype(np.float32), values[[i for i, *_ in expected[:50]]])
        check_samples(own[own["kind"] != "top"], values, kept, hashes, context)
    sample = found[found["model"] == "tiny-b"].sample(100, random_state=0)
    for row, position, token, before, after, subset in sample[
        ["row", "position", "token", "before", "after", "subset"]
    ].itertuples(index=False):
        pieces = [texts[int(i)] for i in tokens[row]]
        assert (token, before) == (pieces[position], "".join(pieces[max(0, position - 20) : position]))
        assert after == "".join(pieces[position + 1 : position + 6])
        assert subset == made.subset_names[made.subset_ids[row]]


def check_samples(own: pd.DataFrame, values: np.ndarray, kept: np.ndarray, hashes: np.ndarray, context: int) -> None:
    """Each band's samples: of least hash among the positive values of the bins whose middle lies in the band."""
    positive = values > 0
    exponent = np.floor(np.log2(values[positive].astype(np.float64)))
    bins = np.clip(2 * exponent + (values[positive] >= 1.5 * 2**exponent), -32, 31)
    below = np.array([(bins < b).sum() for b in bins])
    middle = (below + np.array([(bins == b).sum() for b in bins]) / 2) / len(bins)
    names = ["quantile_0_25", "quantile_25_50", "quantile_50_75", "quantile_75_90", "quantile_90_99", "quantile_99_100"]
    band = np.digitize(middle, (0.25, 0.5, 0.75, 0.9, 0.99))
    expected = []
    for number in sorted(set(band)):
        inside = np.flatnonzero(band == number)
        chosen = inside[np.argsort(hashes[positive][inside])[:3]]
        places = kept[positive][chosen]
        order = np.lexsort((places, -values[positive][chosen]))
        expected += [(names[number], *divmod(int(places[i]), context), middle[chosen[i]]) for i in order]
    assert own[["kind", "row", "position"]].to_records(index=False).tolist() == [tuple(e[:3]) for e in expected]
    np.testing.assert_allclose(own["quantile"].astype(float), [e[3] for e in expected], atol=1e-6)


def test_jobs_over_ranges_of_rows_publish_the_same(database_url: str, tmp_path: Path) -> None:
    """Of activations that differ by rounding, two may change places; nothing else may differ."""
    models, corpus = tiny_family(tmp_path, "ab"), small_corpus(tmp_path)
    whole = run_ingest(database_url, models, corpus, seed=SEED)
    cut = run_ingest(database_url, models, corpus, seed=SEED, again=True, jobs=5, batch_tokens=700)
    ((jobs,),) = rows(database_url, "SELECT count(*) FROM run_jobs WHERE run_id = :run", run=cut.run_id)
    assert jobs >= 6
    one, other = published(database_url, whole.run_id), published(database_url, cut.run_id)
    key = ["model", "layer", "neuron", "kind", "rank"]
    pd.testing.assert_frame_equal(one[key], other[key])
    np.testing.assert_allclose(one["value"], other["value"], rtol=1e-5, atol=1e-6)
    moved = (one[["row", "position"]] != other[["row", "position"]]).any(axis=1)
    assert moved.mean() < 1e-3


def test_a_later_run_takes_them_over(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path, "abc"), small_corpus(tmp_path)
    first = run_ingest(database_url, models[:2], corpus)
    second = run_ingest(database_url, models, corpus)
    before, after = published(database_url, first.run_id), published(database_url, second.run_id)
    pd.testing.assert_frame_equal(before, after[after["model"] != "tiny-c"])
    assert (after["model"] == "tiny-c").any()


@pytest.mark.parametrize("context", [2, 9])
def test_short_rows_and_no_subsets(database_url: str, tmp_path: Path, context: int) -> None:
    corpus = factories.write_jsonl(tmp_path / "plain.jsonl", factories.random_texts(10))
    report = run_ingest(database_url, tiny_family(tmp_path, "ab"), corpus, context=context, max_tokens=40 * context)
    found = published(database_url, report.run_id)
    assert set(found["subset"]) == {None} and found["position"].between(1, context - 1).all()
    assert (found["before"].str.len() > 0).all()
