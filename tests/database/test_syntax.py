"""Explanations by syntax beside those by tokens: one ranking, labels of their own, and parts that come and go alone."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from sqlalchemy import Engine

from catalog.publishing import checksums
from catalog.publishing.relabel import relabel
from catalog.rows import Definition, FeatureRow, PublishRows
from catalog.runs import life
from tests import published
from tests.database.helpers import execute, one, rows
from tests.published import PARTS, TOKENIZER, spec_of
from tests.published_rows import MODELS, SCORES, N

SYNTAX = (
    FeatureRow("spacy_morph_plural", "spacy_morph", 10_000, "a plural"),
    FeatureRow("spacy_pos_det", "spacy_pos", 10_001, "a determiner"),
)
Found = Mapping[int, Sequence[tuple[str, str, float]]]
FOUND: Found = {
    3: [("spacy_morph_plural", "current", 0.7)],
    4: [("spacy_morph_plural", "current", 0.2), ("spacy_pos_det", "previous", 0.1)],
    5: [("spacy_pos_det", "previous", 0.3), ("spacy_pos_det", "current", 0.25)],
    6: [("spacy_pos_det", "current", 0.1999)],
    7: [("spacy_pos_det", "current", 0.0100001), ("spacy_pos_det", "previous", 0.01)],
    26: [("spacy_pos_det", "current", 0.5)],
}


def publish_syntax(engine: Engine, found: Found, identity: str = "small family", version: int = 1) -> int:
    """Add explanations by syntax to the published small family."""
    run_id = one(engine, "SELECT id FROM runs WHERE identity = :identity AND status = 'published'", identity=identity)
    parts = {"syntax": Definition(version)}
    with life.begin_parts(engine, run_id, spec_of(identity, parts)) as handle:
        models = [published._model(seed, name) for seed, name in enumerate(MODELS)]
        ids = handle.reserve(models, TOKENIZER.sha256)
        feature_ids = handle.feature_ids(SYNTAX)
        each = [(flat, *row) for flat, these in found.items() for row in these]
        n = len(each)
        handle.stage(
            "explanations",
            {
                "neuron_id": ids[0].neuron_ids[[flat for flat, _, _, _ in each]],
                "feature_id": np.array([feature_ids[name] for _, name, _, _ in each], dtype=np.int32),
                "shift": np.array([shift for _, _, shift, _ in each], dtype=object),
                **dict.fromkeys(SCORES, np.array([score for _, _, _, score in each])),
                "n_in": np.full(n, 500), "n_out": np.full(n, 5500), "mean_in": np.ones(n), "mean_out": np.zeros(n),
                "cohen_d": np.ones(n),
                "rank": np.array([1 + i for these in found.values() for i in range(len(these))], dtype=np.int32),
            },
        )  # fmt: skip
        handle.publish(
            PublishRows(
                models=list(zip(models, ids, strict=True)),
                tokenizer=TOKENIZER,
                corpus=None,
                features=list(SYNTAX),
                feature_ids=feature_ids,
                feature_tokens={},
                statistics_run_of={own.model_id: handle.run_id for own in ids},
                pair_run_of={},
                groups=[],
                parts=parts,
            )
        )
    return run_id


@pytest.fixture
def run(published_family: int, engine: Engine) -> int:
    return publish_syntax(engine, FOUND)


RANKED = """SELECT feature, shift, rank FROM neuron_explanations
            WHERE model = :model AND layer * 16 + neuron = :flat ORDER BY rank"""


def test_ranks_run_over_features_of_tokens_and_of_syntax(engine, run):
    ranks = {flat: rows(engine, RANKED, model=MODELS[0], flat=flat) for flat in (3, 4, 5, 7, 8)}
    assert ranks == {
        3: [("spacy_morph_plural", "current", 1), ("is_digit", "current", 2)],
        4: [("spacy_morph_plural", "current", 1), ("spacy_pos_det", "previous", 2), ("contains_comma", "current", 3)],
        5: [("spacy_pos_det", "previous", 1), ("spacy_pos_det", "current", 2), ("contains_comma", "current", 3)],
        # of scores that differ by rounding the current token comes first, and of those the feature of the token
        7: [("contains_comma", "current", 1), ("spacy_pos_det", "current", 2), ("spacy_pos_det", "previous", 3)],
        8: [("contains_comma", "current", 1)],
    }


def test_the_best_feature_of_all_gives_the_label(engine, run):
    statement = """SELECT layer * 16 + neuron, family, subtype, round(score::numeric, 3)::float FROM neuron_labels
                   WHERE model = :model AND family IN ('syntax', 'previous_token', 'token_class', 'unigram') ORDER BY 1, 2"""
    expected = [
        (3, "syntax", "morph_plural", 0.7),
        (4, "syntax", "morph_plural", 0.2),
        (5, "previous_token", "pos_det", 0.3),
        (18, "previous_token", "contains_comma", 0.4),
        (26, "unigram", "s", 0.8),
    ]
    assert rows(engine, statement, model=MODELS[0]) == expected
    relabel(engine)
    assert rows(engine, statement, model=MODELS[0]) == expected
    # the other seeds have no syntax
    assert rows(engine, statement, model=MODELS[1])[0] == (3, "token_class", "is_digit", 0.6)
    ((evidence,),) = rows(engine, "SELECT evidence FROM labels WHERE subtype = 'morph_plural' AND score = 0.7")
    assert evidence["feature"] == "spacy_morph_plural" and evidence["runner_up"] == "is_digit" and evidence["threshold"] == 0.2


def test_checksums_follow_the_ranks(engine, run):
    with engine.connect() as connection:
        for table in ("explanations", "features", "feature_tokens", "labels"):
            ((columns, *written),) = rows(
                engine, "SELECT columns, n_rows, bits, total FROM run_checksums WHERE run_id = :run AND table_name = :table",
                run=run, table=table,
            )  # fmt: skip
            found = checksums.checksum(connection, run, table, columns)
            assert [found.n_rows, found.bits, found.total] == written, table


def test_a_part_by_another_definition_replaces_its_own_rows_only(engine, run):
    publish_syntax(engine, {3: [("spacy_pos_det", "current", 0.4)]}, version=2)
    assert rows(engine, RANKED, model=MODELS[0], flat=3) == [("is_digit", "current", 1), ("spacy_pos_det", "current", 2)]
    n = "SELECT count(*) FROM explanations e JOIN features f ON f.id = e.feature_id WHERE starts_with(f.family, 'spacy_')"
    assert one(engine, n) == 1 and one(engine, "SELECT count(*) FROM explanations") == 1 + N * len(MODELS)

    newer = {part: Definition(2) for part in PARTS}
    with life.begin_parts(engine, run, spec_of("small family", newer)) as handle:
        publication = published.stage_small_family(handle)
        handle.publish(type(publication)(**{**vars(publication), "parts": newer}))
    assert one(engine, n) == 1 and one(engine, "SELECT count(*) FROM explanations") == 1 + N * len(MODELS)
    assert rows(engine, RANKED, model=MODELS[0], flat=3) == [("is_digit", "current", 1), ("spacy_pos_det", "current", 2)]


@pytest.mark.parametrize(("part", "expected"), [("syntax", 9), ("vocabulary", N)])
def test_another_run_takes_over_the_rows_of_a_part(engine, run, part, expected):
    with life.begin_run(engine, spec_of("second")) as handle:
        own = handle.reserve([published._model(0, MODELS[0])], TOKENIZER.sha256)[0]
        assert handle.stage_from_run("explanations", run, part, model=own) == expected


def test_a_feature_of_no_known_family_is_refused(engine, run):
    with pytest.raises(Exception, match="family_known"):
        execute(engine, "UPDATE features SET family = 'spacy_none' WHERE name = 'spacy_pos_det'")
