"""Syntax features: model tokens aligned to spaCy's by characters, and what the real pipeline says of them (SPEC §5b)."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.language import Language

from ingest.corpus.syntax import DEFAULT_PIPELINE
from ingest.corpus.syntax.alignment import MULTI, NONE, SpacyTokens, align, row_text
from ingest.corpus.syntax.annotate import annotate, cut_text, load_pipeline
from ingest.corpus.syntax.features import ALIASES, FEATURES, N_BYTES, N_FEATURES, NAMES
from ingest.corpus.tokenizer import TokenizerInfo, text_encoder, tokenizer_identity
from tests.factories import byte_bpe_tokenizer, random_texts
from tests.tokenizer_factories import llama_tokenizer, unigram_tokenizer

ODD = [
    "👩‍👩‍👧 family 👍🏽", "🇩🇪🇫🇷", "e\u0301te\u0301 cafe\u0301", "a\tb\t\tc", "line one\r\nline two\r\n\r\n",
    "  \n\n   ", "\n", "def f(x):\n    return x[i]+1  # ok\n", "if(a&&b){c->d;}", "日本語のテキスト、中文。",
    "한국어", "don't", "U.S.A.'s", "\x00", "a\x00b", "\u200b\u200d", "\ufffd", "naïve", " ", "x", "the", " quick",
    ".", "…", "١٢٣",
]  # fmt: skip

texts = st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=4)), max_size=12).map("".join)


@pytest.fixture(scope="module")
def bpe() -> Any:
    """A byte-level BPE that merges across what is odd as well."""
    return byte_bpe_tokenizer(texts=[*random_texts(30), *ODD * 8], vocab_size=600)


@pytest.fixture(scope="module")
def info(bpe: Any) -> TokenizerInfo:
    return tokenizer_identity(bpe)


@pytest.fixture(scope="module")
def blank() -> Language:
    return spacy.blank("en")


@pytest.fixture(scope="module")
def english() -> Language:
    return load_pipeline(DEFAULT_PIPELINE).nlp


def ids_of(bpe: Any, text: str) -> list[int]:
    return bpe(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def spacy_tokens(doc: Any) -> SpacyTokens:
    return SpacyTokens(
        np.array([token.idx for token in doc], dtype=int),
        np.array([token.idx + len(token) for token in doc], dtype=int),
        np.array([token.is_space for token in doc], dtype=bool),
    )


def by_definition(text: str, pieces: list[bytes], doc: Any) -> list[int]:
    """The alignment, one token and one character at a time."""
    of_byte = [place for place, character in enumerate(text) for _ in character.encode()]
    found, at = [], 0
    for piece in pieces:
        places = sorted(set(of_byte[at : at + len(piece)]))
        at += len(piece)
        solid = [place for place in places if not text[place].isspace()]
        if solid:
            first, last = solid[0], solid[-1]
            touched = [token.i for token in doc if token.idx <= last and first < token.idx + len(token)]
            found.append(touched[0] if len(touched) == 1 else MULTI if touched else NONE)
        else:
            holding = [
                token.i for token in doc if token.is_space and set(places) <= set(range(token.idx, token.idx + len(token)))
            ]
            found.append(holding[0] if places and holding else NONE)
    return found


@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_alignment_is_that_of_the_definition(text: str, bpe: Any, info: TokenizerInfo, blank: Language) -> None:
    pieces = [info.token_bytes[i] for i in ids_of(bpe, text)]
    row = row_text(pieces)
    assert row.text == text
    doc = blank(text)
    found = align(row, spacy_tokens(doc))
    assert found.tolist() == by_definition(text, pieces, doc)
    for start, end, index in zip(row.starts, row.ends, found, strict=True):
        if index >= 0:
            token = doc[int(index)]
            characters = text[start:end]
            if characters.strip():
                start, end = start + len(characters) - len(characters.lstrip()), start + len(characters.rstrip())
            assert token.idx <= start < end <= token.idx + len(token)


@settings(max_examples=150, deadline=None)
@given(text=texts, cuts=st.lists(st.integers(0, 200), max_size=30))
def test_alignment_of_any_pieces_of_the_bytes(text: str, cuts: list[int], blank: Language) -> None:
    raw = text.encode()
    edges = sorted([0, len(raw), *(min(cut, len(raw)) for cut in cuts)])
    pieces = [raw[a:b] for a, b in pairwise(edges)]
    doc = blank(text)
    assert align(row_text(pieces), spacy_tokens(doc)).tolist() == by_definition(text, pieces, doc)


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.one_of(st.binary(max_size=5), st.sampled_from([text.encode() for text in ODD])), max_size=10))
def test_bytes_that_are_no_text_become_replacement_characters(pieces: list[bytes]) -> None:
    row = row_text(pieces)
    assert row.text == b"".join(pieces).decode(errors="replace")
    covered = {place for a, b in zip(row.starts, row.ends, strict=True) for place in range(a, b)}
    assert covered == set(range(len(row.text)))
    assert (np.diff(row.starts) >= 0).all() and (row.ends >= row.starts).all()
    assert [a == b for a, b in zip(row.starts, row.ends, strict=True)] == [piece == b"" for piece in pieces]


def test_a_piece_of_a_character_has_the_span_of_the_character() -> None:
    row = row_text([b"a", *(bytes([byte]) for byte in "👍".encode()), b" b", b"\xe2\x82", b"!"])
    assert row.text == "a👍 b\ufffd!"
    assert row.starts.tolist() == [0, 1, 1, 1, 1, 2, 4, 5]
    assert row.ends.tolist() == [1, 2, 2, 2, 2, 4, 5, 6]


def test_names_are_distinct_and_aliases_are_the_reference_s() -> None:
    assert len(set(NAMES)) == N_FEATURES == 87
    families = [feature.family for feature in FEATURES]
    sizes = {family: families.count(family) for family in families}
    assert sizes == {"spacy_pos": 18, "spacy_dep": 32, "spacy_morph": 16, "spacy_ent": 18, "spacy_misc": 3}
    assert all(feature.name.startswith(f"{feature.family}_") for feature in FEATURES)
    assert len(ALIASES) == 84 and ALIASES["is_spacy_det"] == "spacy_dep_det" and ALIASES["is_plural"] == "spacy_morph_plural"


TEXTS = [
    "The three cats were not sitting on John's mats in Paris, were they? She'd run there yesterday.",
    "👩‍👩‍👧 He said: 日本語 cafe\u0301s\tare\r\n\r\nfine.\r\n  x = f(a[0])  # code\x00 ",
    "Apple paid $3 billion in 2019; it doesn't matter. Running 5km was the best thing I've ever done!",
]


def names_of(token: Any) -> set[str]:
    """The features of a spaCy token, by its own attributes."""
    names = {f"spacy_pos_{token.pos_.lower()}", f"spacy_dep_{token.dep_.lower()}", f"spacy_ent_{token.ent_type_.lower()}"}
    for feature in FEATURES:
        key, value = feature.source
        if feature.family == "spacy_morph" and value in token.morph.get(key):
            names.add(feature.name)
    names |= {"spacy_misc_stop"} if token.is_stop else set()
    names |= {"spacy_misc_sent_begin"} if token.is_sent_start else set()
    names |= {"spacy_misc_sent_end"} if token.is_sent_end else set()
    return names & set(NAMES)


def rows_of(bpe: Any, info: TokenizerInfo, texts: list[str], context: int) -> np.ndarray:
    ids = [[info.bos_id, *ids_of(bpe, text)][:context] for text in texts]
    assert all(len(row) == context for row in ids)
    return np.array(ids)


def unpacked(bits: np.ndarray) -> np.ndarray:
    return np.unpackbits(bits, axis=2, count=N_FEATURES).astype(bool)


def test_features_of_the_real_pipeline(bpe: Any, info: TokenizerInfo, english: Language) -> None:
    rows = rows_of(bpe, info, TEXTS, 25)
    bits = annotate(english, info.token_bytes, [info.bos_id], rows)
    assert bits.shape == (3, 25, N_BYTES) and not bits[:, 0].any()
    seen: set[str] = set()
    for row, found in zip(rows, unpacked(bits), strict=True):
        pieces = [info.token_bytes[i] for i in row[1:]]
        text = b"".join(pieces).decode(errors="replace")
        doc = english(text)
        for p, index in enumerate(align(row_text(pieces), spacy_tokens(doc)), start=1):
            expected = {"spacy_pos_multi"} if index == MULTI else names_of(doc[int(index)]) if index >= 0 else set()
            if p == len(row) - 1:
                expected.discard("spacy_misc_sent_end")
            assert {NAMES[i] for i in np.flatnonzero(found[p])} == expected, (text, p)
            seen |= expected
    assert {name.split("_")[1] for name in seen} == {"pos", "dep", "morph", "ent", "misc"}


def test_a_sentence_ends_within_a_row_and_not_where_the_row_does(bpe: Any, info: TokenizerInfo, english: Language) -> None:
    text = "She went home. He came back."
    row = np.array([[info.bos_id, *ids_of(bpe, text)]])
    (found,) = unpacked(annotate(english, info.token_bytes, [info.bos_id], row))
    ends = np.flatnonzero(found[:, NAMES.index("spacy_misc_sent_end")])
    assert [info.strings[row[0, p]] for p in ends] == ["."] and ends[0] < row.shape[1] - 1
    begins = np.flatnonzero(found[:, NAMES.index("spacy_misc_sent_begin")])
    assert begins[0] == 1 and "".join(info.strings[i] for i in row[0, begins]).replace(" ", "") == "SheHe"


def test_special_tokens_divide_texts_and_have_no_features(bpe: Any, info: TokenizerInfo, english: Language) -> None:
    parts = [ids_of(bpe, " The cats ran"), [info.eos_id], ids_of(bpe, "nowhere at all."), [info.eos_id]]
    row = np.array([[info.bos_id, *(i for part in parts for i in part)]])
    (found,) = unpacked(annotate(english, info.token_bytes, [info.bos_id, info.eos_id], row))
    for part, start in ((parts[0], 1), (parts[2], 2 + len(parts[0]))):
        alone = np.array([[info.bos_id, *part, *part]])
        alone[:, 1 + len(part)] = info.eos_id
        (expected,) = unpacked(annotate(english, info.token_bytes, [info.bos_id, info.eos_id], alone))
        np.testing.assert_array_equal(found[start : start + len(part)], expected[1 : 1 + len(part)])
    assert not found[row[0] == info.eos_id].any()


def test_unknown_text_keeps_words_apart_and_has_no_features(bpe: Any, info: TokenizerInfo, english: Language) -> None:
    before, after = ids_of(bpe, " The cats"), ids_of(bpe, " ran quickly home.")
    unknown = info.n_tokens
    row = np.array([[info.bos_id, *before, unknown, *after]])
    (found,) = unpacked(annotate(english, [*info.token_bytes, None], [info.bos_id], row))
    (shown,) = unpacked(annotate(english, [*info.token_bytes, "\ufffd".encode()], [info.bos_id], row))
    assert not found[1 + len(before)].any() and shown[1 + len(before)].any()
    others = np.flatnonzero(row[0] != unknown)
    np.testing.assert_array_equal(found[others], shown[others])
    assert found[1 : 1 + len(before)].any() and found[2 + len(before) :].any()


def test_spaces_of_every_tokenizer_part_words_for_the_pipeline(english: Language) -> None:
    text = "The cats were made over. People made many more."
    features = []
    # the space that two of them put in front is a token for the pipeline, so all texts begin with one
    made = ((byte_bpe_tokenizer(), f" {text}"), (llama_tokenizer(), text), (unigram_tokenizer(byte_fallback=True), text))
    for tokenizer, written in made:
        info, (ids,) = tokenizer_identity(tokenizer), text_encoder(tokenizer)([written])
        (found,) = unpacked(annotate(english, info.token_bytes, [info.bos_id], np.array([[info.bos_id, *ids]])))
        ends = np.cumsum([len(info.token_bytes[i]) for i in ids])
        # at the token that ends each word, whatever the pieces before it
        places = [1 + np.flatnonzero(ends - ends[-1] + len(text) == end)[0] for end in (3, 8, 13, 18, 31, 36, 41)]
        features.append(found[places])
    assert features[0].any(axis=1).all()
    np.testing.assert_array_equal(features[0], features[1])
    np.testing.assert_array_equal(features[0], features[2])


@settings(max_examples=30, deadline=None)
@given(ids=st.lists(st.integers(0, 255), min_size=1, max_size=40), limit=st.integers(1, 20))
def test_any_bytes_of_any_length_are_taken(ids: list[int], limit: int, info: TokenizerInfo, english: Language) -> None:
    row = np.array([[info.bos_id, *(1 + i for i in ids)]])
    usual = english.max_length
    try:
        english.max_length = limit
        bits = annotate(english, info.token_bytes, [info.bos_id], row)
    finally:
        english.max_length = usual
    assert bits.shape == (1, len(ids) + 1, N_BYTES)


def test_a_text_longer_than_the_pipeline_takes_loses_nothing(bpe: Any, info: TokenizerInfo, english: Language) -> None:
    """Every token of every piece is annotated: each word has its part of speech, wherever the text was cut."""
    text = " ".join(random_texts(3, words_each=40)) + " 日本語 👩‍👩‍👧 e\u0301te\u0301" * 4
    rows = np.array([[info.bos_id, *ids_of(bpe, text)]])
    part_of_speech = [i for i, name in enumerate(NAMES) if name.startswith("spacy_pos_")]
    usual, found = english.max_length, {}
    try:
        for limit in (usual, 120, 23):
            english.max_length = limit
            (features,) = unpacked(annotate(english, info.token_bytes, [info.bos_id], rows))
            found[limit] = features[:, part_of_speech]
    finally:
        english.max_length = usual
    assert len(text) > 500 and (found[usual].sum(1)[1:] <= 1).all() and found[usual].any(1).mean() > 0.9
    for limit in (120, 23):
        # what a blank belongs to may change with the cut
        words = np.array([bool(info.strings[i].strip()) for i in rows[0]])
        np.testing.assert_array_equal(found[limit].any(1)[words], found[usual].any(1)[words])


@settings(max_examples=100, deadline=None)
@given(text=texts, breaks=st.lists(st.integers(0, 60), max_size=4), limit=st.integers(1, 30))
def test_texts_are_cut_at_breaks_and_at_the_limit(text: str, breaks: list[int], limit: int) -> None:
    breaks = [place for place in breaks if place <= len(text)]
    pieces = list(cut_text(text, breaks, limit))
    assert "".join(piece for _, piece, _ in pieces) == text
    assert all(0 < len(piece) <= limit and text[start:].startswith(piece) for start, piece, _ in pieces)
    starts = {start for start, _, _ in pieces} | {len(text)}
    assert set(breaks) <= starts
    assert all(start + len(piece) in {*breaks, len(text)} for start, piece, cut in pieces if not cut)


def test_a_pipeline_without_annotations_leaves_everything_false(bpe: Any, info: TokenizerInfo, blank: Language) -> None:
    rows = rows_of(bpe, info, TEXTS[:1], 20)
    (found,) = unpacked(annotate(blank, info.token_bytes, [info.bos_id], rows))
    assert {NAMES[i] for i in np.flatnonzero(found.any(0))} <= {"spacy_misc_stop", "spacy_pos_multi"}
