"""The main job on tiny checkpoints: permuted seeds, reuse, parts, plans, and results that do not depend on luck."""

import re
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import InputError
from tests import factories
from tests.acceptance.ingests import BUT_SYNTAX, assert_same, contract, rows, run_ingest, small_corpus, tiny_family

EVERYTHING = {"only": BUT_SYNTAX, "intervention_tokens": 400}
"""What computes every part that needs no spaCy, of little."""


def test_permuted_seed_is_recovered(database_url: str, tmp_path: Path) -> None:
    """Seed b is seed a with its neurons permuted within layers: the best match is the permuted self, correlation 1."""
    (own,) = tiny_family(tmp_path, "a", d_mlp=40)
    order = factories.permuted_copy(own, tmp_path / "tiny-b", seed=3)
    run_ingest(database_url, [own, tmp_path / "tiny-b"], small_corpus(tmp_path, 40))
    found = rows(
        database_url,
        """SELECT layer, neuron, other_layer, other_neuron, max_corr, mutual_best FROM neuron_universality_by_model
           WHERE model = 'tiny-b' ORDER BY layer, neuron""",
    )
    assert len(found) == order.size
    for layer, neuron, other_layer, other_neuron, corr, mutual in found:
        assert (other_layer, other_neuron) == (layer, order[layer, neuron])
        assert corr == pytest.approx(1, abs=1e-5) and mutual
    sizes = rows(database_url, "SELECT size, count(*) FROM neuron_group_members WHERE model = 'tiny-a' GROUP BY size")
    assert sizes == [(2, order.size)]
    assert rows(database_url, "SELECT DISTINCT fraction FROM depth_matrix WHERE layer = other_layer") == [(1.0,)]


def test_second_run_answers_and_again_computes(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path, "ab"), small_corpus(tmp_path, 40)
    first = run_ingest(database_url, models, corpus)
    assert first.outcome == "published"
    second = run_ingest(database_url, models[::-1], corpus, batch_tokens=99)
    assert (second.outcome, second.run_id) == ("already_published", first.run_id)
    before = contract(database_url)
    third = run_ingest(database_url, models, corpus, again=True)
    assert third.outcome == "published" and third.run_id != first.run_id
    assert_same(before, contract(database_url))
    assert rows(database_url, "SELECT superseded FROM runs ORDER BY id") == [(True,), (False,)]


def test_another_seed_computes_only_its_own_pairs(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path, d_mlp=12), small_corpus(tmp_path, 40)
    first = run_ingest(database_url, models[:2], corpus, **EVERYTHING)
    second = run_ingest(database_url, models, corpus, **EVERYTHING)
    computed = rows(
        database_url,
        "SELECT computed_run_id, count(*) FROM run_pairs WHERE run_id = :run GROUP BY 1 ORDER BY 1",
        run=second.run_id,
    )
    assert computed == [(first.run_id, 1), (second.run_id, 2)]
    own = rows(database_url, "SELECT statistics_run_id FROM run_models WHERE run_id = :run ORDER BY ordinal", run=second.run_id)
    assert own == [(first.run_id,)] * 2 + [(second.run_id,)]
    third = run_ingest(database_url, models, corpus, again=True, **EVERYTHING)
    assert_same(contract(database_url, second.run_id), contract(database_url, third.run_id))


def test_parts_are_added_without_redoing_the_others(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path, "ab", d_mlp=12), small_corpus(tmp_path, 40)
    whole = run_ingest(database_url, models, corpus, seed=5, **EVERYTHING)
    partial = run_ingest(database_url, models, corpus, seed=0, only=("weights", "activations"))
    assert rows(database_url, "SELECT count(*) FROM pairs WHERE run_id = :run", run=partial.run_id) == [(0,)]
    added = run_ingest(database_url, models, corpus, seed=0, **EVERYTHING)
    assert (added.outcome, added.run_id) == ("parts_added", partial.run_id)
    parts = rows(database_url, "SELECT part FROM run_parts WHERE run_id = :run ORDER BY 1", run=partial.run_id)
    assert [part for (part,) in parts] == sorted(BUT_SYNTAX)
    # all rows of this corpus enter whatever the seed of the shuffle, so only the rotations differ
    one, other = contract(database_url, whole.run_id), contract(database_url, partial.run_id)
    np.testing.assert_allclose(one["neuron_profiles"]["max_corr"], other["neuron_profiles"]["max_corr"], atol=1e-5)
    np.testing.assert_allclose(one["neuron_profiles"]["kurt"], other["neuron_profiles"]["kurt"], rtol=1e-5)


def test_weights_alone_need_no_corpus_and_one_model(database_url: str, tmp_path: Path) -> None:
    (model,) = tiny_family(tmp_path, "a")
    report = run_ingest(database_url, [model], None, only=("weights",))
    found = rows(database_url, "SELECT count(*), count(l2_penalty), count(mean), count(excess_corr) FROM neuron_profiles")
    assert report.outcome == "published" and found == [(48, 48, 0, 0)]


def test_weights_that_a_run_has_are_not_published_again(database_url: str, tmp_path: Path) -> None:
    """A newer run of weights alone would hide the correlations of the older one."""
    models = tiny_family(tmp_path, "ab")
    whole = run_ingest(database_url, models, small_corpus(tmp_path, 40))
    weights = run_ingest(database_url, models[:1], None, only=("weights",))
    assert (weights.outcome, weights.run_id) == ("already_published", whole.run_id)
    assert rows(database_url, "SELECT count(*) = count(excess_corr) FROM neuron_profiles") == [(True,)]


def test_the_same_weights_by_another_name_are_another_model(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path), small_corpus(tmp_path, 40)
    run_ingest(database_url, models[:2], corpus)
    renamed = [Path(f"x={models[0]}"), *models[1:]]
    run_ingest(database_url, renamed, corpus)
    found = rows(
        database_url,
        "SELECT model, count(mean), count(excess_corr), count(l2_penalty) FROM neuron_profiles GROUP BY 1 ORDER BY 1",
    )
    assert found == [(model, 48, 48, 48) for model in ("tiny-a", "tiny-b", "tiny-c", "x")]


def test_models_of_different_shape(database_url: str, tmp_path: Path) -> None:
    tokenizer = factories.byte_bpe_tokenizer()
    wide = factories.tiny_gpt2(tmp_path / "wide", 0, tokenizer, n_layers=3, d_mlp=40)
    narrow = factories.tiny_gpt2(tmp_path / "narrow", 1, tokenizer, n_layers=2, d_mlp=24)
    run_ingest(database_url, [wide, narrow], small_corpus(tmp_path, 40))
    found = rows(
        database_url,
        """SELECT model, count(*), count(max_corr), count(diag_corr), max(other_layer)
           FROM neuron_universality_by_model GROUP BY model ORDER BY model""",
    )
    assert found == [("narrow", 48, 48, 0, 2), ("wide", 120, 120, 0, 1)]
    sums = rows(database_url, "SELECT sum(fraction) FROM depth_matrix GROUP BY model, layer")
    np.testing.assert_allclose([total for (total,) in sums], 1)


@pytest.mark.parametrize("family", ["neox", "opt"])
def test_other_architectures(database_url: str, tmp_path: Path, family: str) -> None:
    tokenizer = factories.byte_bpe_tokenizer()
    make = getattr(factories, f"tiny_{family}")
    models = [make(tmp_path / f"{family}-{seed}", seed, tokenizer) for seed in (0, 1)]
    run_ingest(database_url, models, small_corpus(tmp_path, 40))
    ((n, defined),) = rows(database_url, "SELECT count(*), count(mean) FROM neuron_profiles")
    assert n == defined > 0


def test_odd_text_and_one_line_of_a_megabyte(database_url: str, tmp_path: Path) -> None:
    odd = ["👩‍👩‍👧 e\u0301 naïve \r\n tab\t nul\0 end " * 20, "漢字とかな交じり文" * 40, "שלום עולם مرحبا بالعالم " * 40]
    corpus = factories.write_jsonl(tmp_path / "odd.jsonl", [*odd, "one line without an end " * 45_000])
    report = run_ingest(database_url, tiny_family(tmp_path, "ab"), corpus, max_tokens=8000)
    assert report.outcome == "published"
    assert rows(database_url, "SELECT n_tokens, has_subsets FROM corpora") == [(8000, False)]


def test_a_name_that_belongs_to_other_weights_is_refused(database_url: str, tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path, 40)
    run_ingest(database_url, tiny_family(tmp_path / "one", "ab"), corpus)
    before = contract(database_url)
    tokenizer = factories.byte_bpe_tokenizer()
    others = [factories.tiny_gpt2(tmp_path / "two" / f"tiny-{name}", seed, tokenizer) for seed, name in ((7, "a"), (8, "b"))]
    with pytest.raises(InputError, match="another model named 'tiny-a' with other weights; give this one a name of its own"):
        run_ingest(database_url, others, corpus)
    assert_same(before, contract(database_url))


def test_every_outcome_is_a_sentence_about_the_run(database_url: str, tmp_path: Path) -> None:
    models, corpus = tiny_family(tmp_path, "ab"), small_corpus(tmp_path, 40)
    asked = (("weights",), ("weights",), ("activations",), ("activations", "positions"), ("positions",))
    told = [run_ingest(database_url, models, corpus, only=only) for only in asked]
    told.append(run_ingest(database_url, models, corpus, seed=1, enqueue=True, staging=str(tmp_path / "staging")))
    sentences = [re.sub(r"after \d+ s|published \d{4}-.*|as \d+ jobs; .*", "…", report.message) for report in told]
    assert [report.outcome for report in told] == [
        "published", "already_published", "published", "parts_added", "already_published", "queued",
    ]  # fmt: skip
    assert sentences == [
        "run 1 is published, …",
        "run 1 has weights of these models already",
        "run 2 is published, …",
        "run 2 now has positions as well, …",
        "run 2 has it all, …",
        "run 3 is queued …",
    ]
