"""Syntax from the command's settings to labels: with the rest of a run, or added to a published one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from catalog.errors import InputError
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.corpus.batches import token_batches
from ingest.corpus.files import CorpusSource
from ingest.corpus.syntax import DEFAULT_PIPELINE
from ingest.corpus.syntax.cache import syntax_of
from ingest.corpus.syntax.features import NAMES
from ingest.corpus.syntax.subsets import syntax_subsets
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.device import resolve_device
from ingest.progress import Silent
from tests.acceptance.ingests import contract, rows, run_ingest, small_corpus, tiny_family
from tests.factories import random_texts, write_jsonl

OTHERS = ("activations", "vocabulary")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return tiny_family(tmp_path_factory.mktemp("models"), "ab")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = random_texts(150)
    named = [{"text": text, "subset": ("novels", "Code")[i % 2]} for i, text in enumerate(texts)]
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", named)


STORED = """SELECT layer, neuron, feature, shift, variance_reduction, n_in, n_out, mean_in, mean_out, rank
            FROM neuron_explanations WHERE model = 'tiny-a' AND starts_with(feature_family, 'spacy_')"""


def test_stored_variance_reductions_are_those_of_the_definition(
    database_url: str, models: list[Path], corpus: Path, tmp_path: Path
) -> None:
    run_ingest(database_url, models, corpus, only=(*OTHERS, "syntax"))
    stored = rows(database_url, STORED)
    assert {row[3] for row in stored} == {"current", "previous"} and len({row[2] for row in stored}) > 10

    checkpoint = open_checkpoint(parse_model_argument(str(models[0])), resolve_device("cpu"))
    info = tokenizer_identity(checkpoint.tokenizer)
    checkpoint.process(info.n_tokens)
    tokens = tokenise(CorpusSource(str(corpus)), info, checkpoint.tokenizer, 32, None, 0, False, tmp_path)
    assert syntax_subsets(tokens.subset_names, ()) == ["novels"]
    syntax = syntax_of(tokens, info, DEFAULT_PIPELINE, ("novels",), tmp_path, Silent(), 1)
    features = syntax.features(0, tokens.n_rows)
    previous = np.concatenate([np.zeros_like(features[:, :1]), features[:, :-1]], axis=1)
    counted = tokens.kept_mask(np.asarray(tokens.tokens)) & syntax.annotated[:, None]
    assert 1000 < counted.sum() < tokens.n_tokens * 0.6
    layers: list[list[np.ndarray]] = [[], []]
    for batch in token_batches(tokens, 4096, resolve_device("cpu")):
        checkpoint.visit_activations(batch.tokens, lambda layer, pre, post: layers[layer].append(post.double().numpy()))
    post = [np.concatenate(parts).reshape(*counted.shape, -1)[counted] for parts in layers]
    for layer, neuron, feature, shift, reduction, n_in, n_out, mean_in, mean_out, _ in stored:
        inside = (features if shift == "current" else previous)[..., NAMES.index(feature)][counted]
        x = post[layer][:, neuron]
        assert (n_in, n_out) == (inside.sum(), (~inside).sum()) and min(n_in, n_out) >= 100
        within = (n_in * x[inside].var() + n_out * x[~inside].var()) / len(x)
        assert reduction == pytest.approx(1 - within / x.var(), abs=1e-5)
        assert (mean_in, mean_out) == pytest.approx((x[inside].mean(), x[~inside].mean()), rel=1e-4, abs=1e-5)


def test_added_to_a_published_run_it_is_as_with_all_at_once(database_url: str, models: list[Path], corpus: Path) -> None:
    parts = (*OTHERS, "syntax")
    at_once = run_ingest(database_url, models, corpus, only=parts, jobs=3)
    first = run_ingest(database_url, models, corpus, only=OTHERS, again=True)
    of_syntax = "SELECT count(*) FROM history.neuron_explanations WHERE run_id = :run AND starts_with(feature_family, 'spacy_')"
    assert rows(database_url, of_syntax, run=first.run_id) == [(0,)]
    added = run_ingest(database_url, models, corpus, only=("syntax",))
    assert (added.run_id, added.outcome) == (first.run_id, "parts_added")
    assert run_ingest(database_url, models, corpus, only=parts).outcome == "already_published"
    one, other = (contract(database_url, run.run_id) for run in (at_once, added))
    for name in ("neuron_explanations", "neuron_labels", "family_counts", "family_counts_by_layer"):
        pd.testing.assert_frame_equal(one[name], other[name], rtol=1e-5, atol=1e-5, obj=name)

    # a third model joins: what is known of the others is taken over, each row once
    third = run_ingest(database_url, tiny_family(models[0].parent, "abc"), corpus, only=parts)
    taken, known = (contract(database_url, run.run_id)["neuron_explanations"] for run in (third, added))
    assert set(taken["model"]) == {"tiny-a", "tiny-b", "tiny-c"}
    pd.testing.assert_frame_equal(taken[taken["model"] != "tiny-c"].reset_index(drop=True), known)


def test_subsets_are_those_asked_for(database_url: str, models: list[Path], tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path)
    with pytest.raises(InputError, match="'novels' is no subset of the corpus; it has one, two"):
        run_ingest(database_url, models, corpus, only=("syntax",), syntax_subsets=("novels",))
    with pytest.raises(InputError, match="run `pip install xx-none`"):
        run_ingest(database_url, models, corpus, only=("syntax",), spacy_model="xx_none")
    assert syntax_subsets([], ()) == [] and syntax_subsets(["one", "DM Mathematics", "Github", "two"], ()) == ["one", "two"]
    run_ingest(database_url, models, corpus, only=("syntax",), syntax_subsets=("two",))
    ((least, most),) = rows(database_url, "SELECT min(n_in + n_out), max(n_in + n_out) FROM neuron_explanations")
    ((n_kept, two, n_rows),) = rows(
        database_url,
        "SELECT n_kept, s.n_rows, c.n_rows FROM corpora c JOIN corpus_subsets s ON s.corpus_id = c.id AND s.subset = 'two'",
    )
    assert least == most and most == pytest.approx(n_kept * two / n_rows, rel=0.05)
