"""Topics: the model against its definition in plain float64, planted topics found again, and files that name them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from catalog.errors import InputError
from ingest.corpus.counts import row_counts
from ingest.corpus.meta import CorpusMeta
from ingest.corpus.rows import TokenCorpus
from ingest.features import topics as core
from ingest.features.of_corpus import TokenTable
from ingest.features.topic_files import read_topics
from ingest.features.topics import BY_FILE, BY_MACHINE, Topic, Topics, association, components, topic_features, topic_model

PLANTED = ([5, 6, 7, 8], [20, 21, 22, 23, 24])
STRINGS = [f" word{i}" for i in range(300)]


def planted_counts(n_rows: int = 600, seed: int = 0) -> np.ndarray:
    """Rows of 60 tokens drawn alike, of which every fifth has many of one topic's tokens."""
    generator = np.random.default_rng(seed)
    counts = np.zeros((n_rows, len(STRINGS)), dtype=np.int64)
    for row in range(n_rows):
        drawn = generator.integers(30, len(STRINGS), 60)
        if row % 5 < len(PLANTED):
            drawn[:25] = generator.choice(PLANTED[row % 5], 25)
        counts[row] = np.bincount(drawn, minlength=len(STRINGS))
    return counts


def test_planted_topics_are_found_and_named_by_their_tokens() -> None:
    found = topic_model(csr_array(planted_counts()), STRINGS)
    sets = {topic.token_ids for topic in found}
    assert {tuple(ids) for ids in PLANTED} <= sets
    for topic in found:
        assert set(topic.name.split("+")) <= {STRINGS[i].strip() for i in topic.token_ids}
        assert len(topic.token_ids) >= core.LEAST_TOKENS
    again = topic_model(csr_array(planted_counts()), STRINGS)
    assert again == found


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n_rows=st.integers(11, 40))
def test_association_and_components_are_the_definition(seed: int, n_rows: int) -> None:
    generator = np.random.default_rng(seed)
    counts = generator.poisson(generator.uniform(0, 2, 12), (n_rows, 12))
    found, ids = association(csr_array(counts))
    in_rows = (counts > 0).sum(0)
    assert ids.tolist() == [i for i in range(12) if in_rows[i] >= core.LEAST_ROWS]
    weights = np.log1p(counts[:, ids].astype(float))
    expected = np.zeros_like(weights)
    for row in range(n_rows):
        for token in range(len(ids)):
            if weights[row, token]:
                p = weights[row, token] / weights.sum()
                of_row, of_token = weights[row].sum() / weights.sum(), weights[:, token].sum() / weights.sum()
                expected[row, token] = max(0.0, np.log(p / (of_row * of_token)))
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-12, atol=1e-12)
    vectors = components(found)
    assert ((vectors**3).sum(1) >= -1e-12).all()
    if len(vectors):
        values = np.linalg.svd(expected, compute_uv=False)[: len(vectors)]
        np.testing.assert_allclose(np.linalg.norm(expected @ vectors.T, axis=0), values, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(0, 300), (1, 300), (5, 300)])
def test_too_few_rows_have_no_topics(shape: tuple[int, int]) -> None:
    assert topic_model(csr_array(np.ones(shape, dtype=np.int64)), STRINGS) == []


def test_names_are_of_different_words_and_short() -> None:
    assert core._name([" Law", "law", "\\xbf", " ", "court"]) == "law+\\xbf+ "
    assert len(core._name(["x" * 50, "y" * 50])) == core.LONGEST_NAME


def corpus_of(tokens: np.ndarray, masked: tuple[int, ...]) -> TokenCorpus:
    meta = CorpusMeta("c", "c", None, None, tokens.shape[1], len(tokens), [], "0" * 64)
    return TokenCorpus(meta, tokens.astype(np.int32), *[np.zeros(len(tokens), dtype=np.int16)] * 2, masked)


def test_masked_tokens_and_later_rows_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.random.default_rng(0).integers(0, 9, (50, 8))
    counts = row_counts(corpus_of(tokens, (0, 3)), 9).toarray()
    assert counts.tolist() == [[0 if i in (0, 3) else int((row == i).sum()) for i in range(9)] for row in tokens]
    monkeypatch.setattr("ingest.corpus.counts.MODEL_TOKENS", 8 * 20)
    np.testing.assert_array_equal(row_counts(corpus_of(tokens, (0, 3)), 9).toarray(), counts[:20])


def test_a_topic_of_other_tokens_is_another_feature() -> None:
    law, more = Topic("law", (1, 4)), Topic("law", (1, 4, 5))
    tables = [topic_features(Topics(family, [topic]), 9) for family in (BY_FILE, BY_MACHINE) for topic in (law, more)]
    names = [table.names[0] for table in tables]
    assert len(set(names)) == 4 and all(name.startswith("topic_law#") for name in names)
    assert np.flatnonzero(tables[1].matrix[0]).tolist() == [1, 4, 5]


def test_positions_have_the_features_of_their_token_and_of_the_one_before_in_the_row() -> None:
    table = topic_features(Topics(BY_FILE, [Topic("even", (0, 2, 4)), Topic("four", (4,))]), 6)
    rows = np.array([[0, 4, 1], [3, 2, 4]], dtype=np.int64)
    kept = np.array([[True, True, True], [False, True, True]])
    features, places = TokenTable(table.matrix, table.matrix[::-1]).of_kept(7, rows, kept)
    assert places is None
    expected = [[1, 0, 0, 0], [1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0], [1, 1, 0, 1]]
    assert features.astype(int).tolist() == expected


def test_a_file_names_topics(tmp_path: Path) -> None:
    path = tmp_path / "topics.csv"
    path.write_text("﻿topic,token_id,note\nlaw,7,x\nsport, 3,\nlaw,2,\nlaw,7,again\n", encoding="utf-8")
    found = read_topics(path, 8)
    assert found == [Topic("law", (2, 7)), Topic("sport", (3,))]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"token_id,topic\n8,law\n", "line 2: the tokenizer has no token id 8; its ids are 0 to 7"),
        (b"token_id,topic\n1,law\n-1,law\n", "line 3: '-1' is no token id"),
        (b"token_id,topic\nlaw,1\n", "line 2: 'law' is no token id"),
        (b"token_id,topic\n1\n", "line 2: '' is no name of a topic"),
        (b"token_id,topic\n1, \n", "line 2: '' is no name of a topic"),
        (b"token_id,topic\n1," + b"x" * 61 + b"\n", "is no name of a topic; give 1 to 60 characters"),
        (b"token_id,topic\n", "has no lines below its header"),
        (b"token,topic\n1,law\n", "lacks a column; its first line must name token_id and topic"),
        (b"", "lacks a column"),
        (b"token_id,topic\n1,\xff\n", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "topics.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_topics(path, 8)
    assert said in str(caught.value) and str(caught.value).endswith(".") and "\n" not in str(caught.value)
