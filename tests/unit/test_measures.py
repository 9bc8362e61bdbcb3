"""Measures: one enumeration in the order of the parts, planned in shares that cover everything once, whose results agree."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config

import ingest.parts as measures
from catalog import parts
from ingest.checkpoints.arguments import parse_model_argument
from ingest.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ingest.checkpoints.undefined import Configured
from ingest.corpus.tokenizer import tokenizer_identity
from ingest.parts import MEASURES, MODEL_MEASURES, OF_MODELS, measures_of_models
from ingest.parts.arrays import PLACE
from ingest.parts.effects import Effects
from ingest.parts.ground import Ground
from ingest.parts.measure import PARTNERS, ModelMeasure
from ingest.parts.shapes import CorpusShape, ModelShape, Share
from ingest.plan.cut import Work, with_measures
from ingest.plan.documents import as_json, from_json
from ingest.plan.items import ModelItem, Plan
from ingest.settings import IngestSettings
from ingest.statistics import effects
from tests import factories

BUDGET = 10**6


def test_measures_come_in_the_order_of_the_parts_and_have_names_of_their_own() -> None:
    assert tuple(dict.fromkeys(measure.part for measure in MEASURES)) == parts.names()
    names = [measure.name for measure in {**{m.name: m for m in MEASURES}, **MODEL_MEASURES}.values()]
    assert len(names) == len(set(names)) and not [name for name in names if ":" in name or "%" in name]


def test_everything_that_is_needed_is_provided_before() -> None:
    provided = {PARTNERS}  # which measures of pairs provide
    for measure in MODEL_MEASURES.values():
        assert {*measure.needs} <= provided
        provided |= {*measure.provides}
    assert all({*measure.needs} <= provided for measure in MEASURES)


def test_other_modules_bring_measures_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "more_measures.py").write_text("from ingest.parts.weights import Weights\nMEASURES = (Weights(),)\n")
    (tmp_path / "no_measures.py").write_text("")
    own = len(MEASURES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("CATALOG_PARTS", " more_measures, no_measures,")
    assert len(measures.MEASURES) == own + 1 and measures.MEASURES[-1].name == "weights"
    monkeypatch.delenv("CATALOG_PARTS")
    assert len(measures.MEASURES) == own
    for name in ("more_measures", "no_measures"):
        sys.modules.pop(name)



@given(n=st.integers(0, 200), of=st.integers(1, 30), step=st.sampled_from([1, 7, 64]))
def test_shares_cover_everything_once(n: int, of: int, step: int) -> None:
    slices = [Share(number, of).slice(n, step) for number in range(of)]
    assert slices[0].start == 0 and slices[-1].stop == n
    assert all(one.stop == other.start for one, other in pairwise(slices))
    assert all(edge.start % step == 0 or edge.start == n for edge in slices)
    if step == 1:
        sizes = [edge.stop - edge.start for edge in slices]
        assert max(sizes) - min(sizes) <= 1


SHAPES = st.builds(ModelShape, st.integers(1, 5), st.integers(8, 130), st.integers(1, 4000), st.integers(20, 200))


@given(
    shapes=st.lists(SHAPES, min_size=1, max_size=3),
    parts=st.sets(st.sampled_from(OF_MODELS)),
    jobs=st.integers(1, 9),
    known=st.sets(st.integers(0, 2)),
)
def test_a_plan_has_every_share_once_after_what_it_needs(
    shapes: list[ModelShape], parts: set[str], jobs: int, known: set[int]
) -> None:
    settings = IngestSettings(("a", "b"), intervention_tokens=100, substitution_tokens=100, ablation_pairs=3, jobs=jobs)
    work = Work.of(parts, len(shapes), known_models=known)
    models = [Configured(GPT2Config())] * len(shapes)
    plan = with_measures(Plan((), tuple(shapes), CorpusShape(40, 16)), work, settings, BUDGET, models)
    assert [job.number for job in plan.jobs] == list(range(len(plan.jobs))) and from_json(as_json(plan)) == plan
    found: dict[tuple[int, str], list[Share]] = {}
    providers: dict[tuple[int, str], list[int]] = {}
    for job in plan.jobs:
        (item,) = job.items
        assert isinstance(item, ModelItem) and job.kind == "measure" and plan.bytes_needed(job) <= BUDGET
        measure = MODEL_MEASURES[item.measure]
        found.setdefault((item.model, item.measure), []).append(item.share)
        # partners are of jobs of pairs, of which there are none here
        needs = [need for need in measure.needs if need != PARTNERS]
        wanted = {number for need in needs for number in providers[item.model, need]}
        assert set(job.after) == wanted and (bool(wanted) or not needs)
        assert plan.tokens(job) == (112 if measure.reads_corpus else 0) and plan.product_flop(job) > 0
        for provided in measure.provides:
            providers.setdefault((item.model, provided), []).append(job.number)
    # what is known of a model stays, but not what depends on the other models
    every = [(model, measure) for model in range(len(shapes)) for measure in measures_of_models(parts)]
    wanted = [(model, m) for model, m in every if model not in known or m.part == "substitution"]
    expected = {(model, m.name) for model, m in wanted if m.shares(shapes[model], settings)}
    assert set(found) == expected
    for shares in found.values():
        assert shares == [Share(number, len(shares)) for number in range(len(shares))]


def test_long_measures_are_cut_for_workers_and_for_interruptions() -> None:
    gpt2 = ModelShape(12, 768, 3072, 50257)
    usual, for_workers = IngestSettings(("a",)), IngestSettings(("a",), jobs=8)
    shares = {name: measure.shares(gpt2, usual) for name, measure in MODEL_MEASURES.items()}
    assert shares["effects"] == 3 and shares["entropy"] == 10 and shares["path_ablations"] == 2 and shares["redundancy"] == 2
    more = {name: measure.shares(gpt2, for_workers) for name, measure in MODEL_MEASURES.items()}
    assert (more["effects"], more["entropy"], more["path_ablations"]) == (8, 10, 8)
    assert MODEL_MEASURES["path_ablations"].shares(ModelShape(1, 8, 6, 20), usual) == 0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = factories.tiny_gpt2(tmp_path_factory.mktemp("model") / "a", 0, factories.byte_bpe_tokenizer(), d_mlp=70)
    return open_checkpoint(parse_model_argument(str(folder)), torch.device("cpu"))


def ground(checkpoint: Checkpoint) -> Ground:
    """What the pass over effects needs."""
    return Ground(
        [checkpoint],
        tokenizer_identity(checkpoint.tokenizer),
        context=16,
        settings=IngestSettings(("a",)),
        device=torch.device("cpu"),
        memory_bytes=2**30,
        corpus_read=None,
        features_found=None,
        results=lambda name: [],
        needed=frozenset({"effects", "explanations"}),
    )


@pytest.mark.parametrize("of", [2, 3, 5])
def test_shares_of_effects_are_those_of_the_whole_to_the_bit(
    checkpoint: Checkpoint, of: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = effects.BlockSize(neurons=32, tokens=64)
    monkeypatch.setattr("ingest.parts.effects.BLOCK_SIZE", block)
    measure: ModelMeasure = Effects()
    done: list[int] = []
    shares = [measure.find(0, Share(number, of), ground(checkpoint), done.append) for number in range(of)]
    whole = measure.find(0, Share(0, 1), ground(checkpoint), lambda amount: None)
    n = checkpoint.n_layers * checkpoint.d_mlp
    assert sum(done) == n and [share[PLACE][2] for share in shares][-1] == n
    for name in whole.keys() - {PLACE, "vocab_n", "explanations.neuron_index"}:
        np.testing.assert_array_equal(np.concatenate([share[name] for share in shares]), whole[name], err_msg=name)
    moved = [share["explanations.neuron_index"] + share[PLACE][1] for share in shares]
    np.testing.assert_array_equal(np.concatenate(moved), whole["explanations.neuron_index"])
