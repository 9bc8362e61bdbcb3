"""The schema's text of bytes is Python's, whatever the bytes; texts of spans are of their bytes, as `show` has them."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from catalog.server.engine import writer_engine
from catalog.text import escape
from tests.conftest import database
from tests.database.helpers import rows
from tests.published_corpus import TOKENS, corpus_tokens
from tests.published_rows import MODELS


@pytest.fixture(scope="module")
def connection(server, template) -> Iterator[Connection]:
    with database(server, template) as url:
        engine = writer_engine(url)
        with engine.connect() as connection:
            yield connection
        engine.dispose()


def readable(connection: Connection, raw: bytes) -> str:
    return connection.execute(text("SELECT readable(:raw)"), {"raw": raw}).scalar_one()


# lead bytes, continuations and the ends of their ranges, where encodings that are too long or surrogates begin
AWKWARD = bytes([0, 0x5C, 0x78, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED])
AWKWARD += bytes([0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF])
PIECES = st.one_of(
    st.binary(max_size=8),
    st.text(max_size=8).map(lambda piece: piece.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from(list(AWKWARD)), max_size=12).map(bytes),
)


@given(pieces=st.lists(PIECES, max_size=6))
@example(pieces=[b""])
@example(pieces=[b"\xc2", b"\xbfPor"])
@example(pieces=[b"\\xc2", b"\0"])
@example(pieces=["\U0010ffff\ud800".encode("utf-8", "surrogatepass"), b"\xf4\x90\x80\x80\xc0\x80\xe0\x9f\xbf"])
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_read_as_in_python(connection, pieces):
    raw = b"".join(pieces)
    assert readable(connection, raw) == escape(raw)


def test_every_byte_before_an_awkward_one_reads_as_in_python(connection):
    """All of them, in one statement, each closed by a letter."""
    pairs = [bytes([first, second, 0x61]) for first in range(256) for second in AWKWARD]
    found = connection.execute(text("SELECT readable(raw) FROM unnest(CAST(:raws AS bytea[])) AS raw"), {"raws": pairs})
    assert found.scalars().all() == [escape(raw) for raw in pairs]


def test_undefined_bytes_have_no_text(connection):
    assert connection.execute(text("SELECT readable(NULL)")).scalar_one() is None


SPLIT = [b"<bos>", b"\n", b"\xc2", b"\xbfPor", b" que", b"\xe2\x82", b"\xac", b"\x00", b"\\", b"\xff", b" S", b"a\\b"]
"""Characters over two tokens: an inverted question mark, a euro sign."""


@pytest.fixture
def split(published_family, engine):
    """The small family with a tokenizer that cuts through characters."""
    with engine.begin() as connection:
        for token, raw in enumerate(SPLIT):
            values = {"id": token, "text": escape(raw), "raw": raw}
            connection.execute(text("UPDATE tokens SET text = :text, bytes = :raw WHERE token_id = :id"), values)
    assert len(SPLIT) == len(TOKENS)
    return engine


@pytest.mark.parametrize("schema", ["public", "history"])
def test_a_character_over_two_tokens_is_one_character_in_the_text_of_an_example(split, schema):
    found = rows(
        split,
        f"""SELECT row, position, before, token, after, before_bytes, token_bytes, after_bytes
              FROM {schema}.neuron_examples WHERE model = :model AND layer = 1 AND neuron = 10""",
        model=MODELS[0],
    )
    assert found
    for row, position, before, token, after, *parts in found:
        tokens = corpus_tokens()[row]
        spans = (tokens[max(0, position - 20) : position], tokens[position : position + 1], tokens[position + 1 : position + 6])
        expected = [b"".join(SPLIT[int(token)] for token in span) for span in spans]
        assert [bytes(part) for part in parts] == expected
        assert [before, token, after] == [escape(raw) for raw in expected]
    assert any("¿Por" in before and "€" in before for _, _, before, *_ in found)


def test_a_token_without_bytes_is_shown_by_its_name(split):
    """What a tokenizer writes for all that it does not know has no bytes."""
    with split.begin() as connection:
        if connection.execute(
            text("SELECT is_nullable = 'YES' FROM information_schema.columns "
                 "WHERE (table_name, column_name) = ('tokens', 'bytes')")
        ).scalar_one():
            connection.execute(text("UPDATE tokens SET bytes = NULL, text = '<unk>' WHERE token_id = 4"))
        else:
            connection.execute(text("UPDATE tokens SET bytes = '<unk>', text = '<unk>' WHERE token_id = 4"))
    found = rows(split, "SELECT before FROM neuron_examples WHERE position > 20")
    assert found and all("¿Por<unk>" in before for (before,) in found)


def test_detected_trigrams_are_text_of_their_bytes(split):
    with split.begin() as connection:
        connection.execute(
            text(
                """INSERT INTO labels (run_id, neuron_id, family, subtype, score, rule_version, evidence, model_id, layer,
                                       "index", universal, sort_key)
                   SELECT l.run_id, l.neuron_id, 'ngram_detector', 'trigram', 0.9, l.rule_version,
                          '{"n": 3, "min_count": 1, "min_probability": 0.5}', l.model_id, l.layer, l."index", 'no', -0.9
                     FROM labels l JOIN detected_ngrams d USING (run_id, neuron_id)
                    WHERE d.rank = 1 LIMIT 1"""
            )
        )
        connection.execute(text("UPDATE detected_ngrams SET n = 3, token_ids = '{2,3,5}' WHERE rank = 1"))
    found = rows(split, "SELECT tokens, tokens_bytes FROM token_detectors WHERE n = 3")
    plain = [(tokens, [bytes(raw) for raw in raws]) for tokens, raws in found]
    assert plain == [(["¿Por\\xe2\\x82"], [b"\xc2\xbfPor\xe2\x82"])]
