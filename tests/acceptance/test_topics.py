"""Topics from a file and from the corpus: what they explain, what they are called, and what is refused."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from catalog.errors import InputError
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import open_checkpoint
from ingest.corpus.batches import token_batches
from ingest.corpus.files import CorpusSource
from ingest.corpus.tokenising import tokenise
from ingest.corpus.tokenizer import tokenizer_identity
from tests.acceptance.ingests import contract, rows, run_ingest
from tests.factories import byte_bpe_tokenizer, tiny_gpt2, write_jsonl
from tests.planted_places import CODE, CONTEXT, PlacesFamily, places_family

PARTS = ("activations", "topics")
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprstvz" for b in ("al", "ond", "ir", "umpf", "esk") for c in "aeou"]
GROUP = WORDS[:5]
"""Words that come together."""


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> PlacesFamily:
    return places_family(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def code_ids(family: PlacesFamily, tmp_path_factory: pytest.TempPathFactory) -> set[int]:
    """The tokens of the subset `code`, which has words of its own."""
    corpus = opened(family, tmp_path_factory.mktemp("cache"))
    own = corpus.tokens[corpus.subset_ids == corpus.subset_names.index(CODE)]
    return set(np.unique(own[corpus.kept_mask(own)]).tolist())


def opened(family: PlacesFamily, folder: Path):
    checkpoint = open_checkpoint(parse_model_argument(str(family.a)), torch.device("cpu"))
    info = tokenizer_identity(checkpoint.tokenizer)
    return tokenise(CorpusSource(str(family.corpus)), info, checkpoint.tokenizer, CONTEXT, None, 0, False, folder)


def topics_file(path: Path, topics: dict[str, set[int]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("token_id", "topic"))
        writer.writerows((token, name) for name, ids in topics.items() for token in sorted(ids))
    return str(path)


def test_a_neuron_of_a_named_topic_is_labelled_so_and_nothing_else(
    database_url: str, family: PlacesFamily, code_ids: set[int], tmp_path: Path
) -> None:
    file = topics_file(tmp_path / "topics.csv", {"programming": code_ids, "half of it": set(sorted(code_ids)[::2])})
    run_ingest(database_url, [family.a, family.b], family.corpus, only=PARTS, topics=file)
    index = family.of_words
    expected = {
        ("places-a", index, "programming", False),
        ("places-b", family.permutation[0].tolist().index(index), "programming", False),
    }
    found = rows(
        database_url,
        """SELECT model, neuron, subtype, (evidence ->> 'machine_named')::boolean FROM neuron_labels
           WHERE family IN ('token_class', 'previous_token')""",
    )
    assert set(found) == expected
    shown = rows(database_url, "SELECT DISTINCT topic, machine_named, n_tokens FROM topics ORDER BY 1")
    assert shown == [("half of it", False, -(-len(code_ids) // 2)), ("programming", False, len(code_ids))]
    assert_is_the_definition(database_url, family, code_ids, tmp_path)


def assert_is_the_definition(url: str, family: PlacesFamily, code_ids: set[int], folder: Path) -> None:
    checkpoint = open_checkpoint(parse_model_argument(str(family.a)), torch.device("cpu"))
    corpus = opened(family, folder / "cache")
    kept, post = [], []
    with torch.inference_mode():
        for batch in token_batches(corpus, 4096, torch.device("cpu")):
            ((_, activations),) = checkpoint.mlp_activations(batch.tokens)
            post.append(activations.flatten(0, 1)[batch.kept].double().numpy())
            kept.append(torch.stack([batch.current, batch.previous]).numpy())
    x, tokens = np.concatenate(post), np.concatenate(kept, axis=1)
    stored = rows(
        url,
        """SELECT neuron, shift, variance_reduction, n_in, mean_in FROM neuron_explanations
           WHERE model = 'places-a' AND starts_with(feature, 'topic_programming#')""",
    )
    assert {row[1] for row in stored} == {"current", "previous"} and len(stored) > 50
    for neuron, shift, reduction, n_in, mean_in in stored:
        inside = np.isin(tokens[0 if shift == "current" else 1], list(code_ids))
        own = x[:, neuron]
        within = (inside.sum() * own[inside].var() + (~inside).sum() * own[~inside].var()) / len(own)
        assert n_in == inside.sum() and mean_in == pytest.approx(own[inside].mean(), rel=1e-4, abs=1e-5)
        assert reduction == pytest.approx(1 - within / own.var(), abs=1e-5)


@pytest.fixture(scope="module")
def topical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of which every fourth is full of one group of words."""
    generator = np.random.default_rng(0)
    texts = []
    for i in range(400):
        words = generator.choice(WORDS[10:], 60).tolist()
        if i % 4 == 0:
            words += generator.choice(GROUP, 60).tolist()
        generator.shuffle(words)
        texts.append({"text": " ".join(words)})
    return write_jsonl(tmp_path_factory.mktemp("topical") / "corpus.jsonl", texts)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three random GPT-2s whose tokenizer has every word whole."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = byte_bpe_tokenizer(texts=["a"], vocab_size=300, whole_tokens=[f" {word}" for word in WORDS])
    return [tiny_gpt2(folder / f"tiny-{name}", seed, tokenizer) for seed, name in enumerate("abc")]


def assert_same_explanations(url: str, one: int, other: int) -> None:
    frames = [contract(url, run) for run in (one, other)]
    for name in ("neuron_explanations", "neuron_labels", "topics"):
        assert len(frames[0][name])
        pd.testing.assert_frame_equal(frames[0][name], frames[1][name], rtol=1e-5, atol=1e-5, obj=name)


def test_the_topics_of_a_control_are_those_of_its_run(database_url: str, models: list[Path], topical: Path) -> None:
    """However few rows it reads, and whenever it is measured."""
    run_ingest(database_url, models[:2], topical, only=PARTS, controls=1, control_tokens=400)
    run_ingest(database_url, models[:2], topical, only=PARTS, controls=2, control_tokens=400)
    topics = [
        rows(database_url, "SELECT ordinal, feature_id FROM run_topics WHERE run_id = :run ORDER BY 1", run=run)
        for run in (1, 2, 3)
    ]
    assert topics[0] and topics == [topics[0]] * 3
    read = "SELECT DISTINCT n_tokens FROM activation_statistics WHERE run_id {} 1"
    assert rows(database_url, read.format(">"))[0][0] < rows(database_url, read.format("="))[0][0] / 4


def test_topics_of_the_corpus_are_machine_named_and_the_same_for_every_plan(
    database_url: str, models: list[Path], topical: Path
) -> None:
    first = run_ingest(database_url, models[:2], topical, only=(*PARTS, "vocabulary"))
    found = rows(
        database_url, "SELECT topic, machine_named, n_tokens, tokens FROM topics WHERE model = 'tiny-a' ORDER BY ordinal"
    )
    assert found and all(machine_named and n_tokens >= 3 for _, machine_named, n_tokens, _ in found)
    assert all(len(tokens) == n_tokens and name for name, _, n_tokens, tokens in found)
    sets = [{token.strip() for token in tokens} for _, _, _, tokens in found]
    assert set(GROUP) in sets
    kinds = rows(database_url, "SELECT DISTINCT feature_family FROM neuron_explanations WHERE starts_with(feature, 'topic_')")
    assert kinds == [("machine_topic",)]
    cut = run_ingest(database_url, models[:2], topical, only=(*PARTS, "vocabulary"), jobs=3, batch_tokens=500, again=True)
    assert_same_explanations(database_url, cut.run_id, first.run_id)


def test_added_to_a_published_run_and_taken_over_by_the_next(database_url: str, models: list[Path], topical: Path) -> None:
    at_once = run_ingest(database_url, models[:2], topical, only=(*PARTS, "vocabulary"))
    alone = run_ingest(database_url, models[:2], topical, only=("activations", "vocabulary"), again=True)
    added = run_ingest(database_url, models[:2], topical, only=("topics",))
    assert (added.run_id, added.outcome) == (alone.run_id, "parts_added")
    assert_same_explanations(database_url, added.run_id, at_once.run_id)
    third = run_ingest(database_url, models, topical, only=(*PARTS, "vocabulary"))
    asked = """SELECT t.model, t.ordinal, t.topic, t.tokens FROM history.topics t
               WHERE run_id = :run AND model = 'tiny-a' ORDER BY 2"""
    assert rows(database_url, asked, run=third.run_id) == rows(database_url, asked, run=added.run_id) != []
    explained = """SELECT neuron_id, feature, shift, variance_reduction FROM history.neuron_explanations
                   WHERE run_id = :run AND model = 'tiny-a' AND starts_with(feature, 'topic_') ORDER BY 1, 2, 3"""
    taken, known = (rows(database_url, explained, run=run.run_id) for run in (third, added))
    assert taken == known != []


def test_a_file_that_cannot_be_used_changes_nothing(
    database_url: str, models: list[Path], topical: Path, tmp_path: Path
) -> None:
    unknown = topics_file(tmp_path / "unknown.csv", {"law": {1, 10**6}})
    with pytest.raises(InputError, match=r"line 3: the tokenizer has no token id 1000000; its ids are 0 to"):
        run_ingest(database_url, models[:2], topical, only=PARTS, topics=unknown)
    with pytest.raises(InputError, match="cannot be read"):
        run_ingest(database_url, models[:2], topical, only=PARTS, topics=str(tmp_path / "none.csv"))
    assert rows(database_url, "SELECT count(*) FROM runs WHERE status = 'published'") == [(0,)]
    assert rows(database_url, "SELECT count(*) FROM models") == [(0,)]
