"""Every architecture that is described, from the ingest to SQL: what is not defined for one is left out with the reason,
everything else is computed, stands in its rows, and is found again by `verify`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from catalog import parts
from catalog.server.engine import writer_engine
from catalog.verify.checks import verify
from ingest.checkpoints.architectures import ARCHITECTURES
from ingest.pipeline.main_path import ingest
from ingest.preview import rehearsal, sum_rates
from ingest.preview.overview import preview
from ingest.progress import Silent
from ingest.recompute.neurons import recompute
from ingest.settings import IngestSettings
from tests import factories
from tests.acceptance.ingests import BUT_SYNTAX, rows, small_corpus
from tests.candidates import make_candidate
from tests.conftest import database
from tests.decoders import near_copy, tiny_decoder

CONTEXT, TOKENS = 24, 1600
AFTER_THE_BLOCK = "a norm stands between what a block gives and the residual stream"
NORMALISED = "queries and keys are normalised"
WINDOW = "layers attend to the last 8 tokens alone, which are fewer than the 24 of a row"
EFFECTS = {
    "weight_statistics.vocab_kurt", "weight_statistics.logit_var", "logit_effects", "detected_ngrams.effect",
    "detected_ngrams.percentile", "logit_explanations", "class_activity", "neuron_vectors WHERE kind = 'logit_effect'",
    "interventions", "entropy_controls", "replaced_neurons", "substitutions",
}  # fmt: skip
SCORES = {"head_scores", "head_baselines", "path_ablations", "ablation_relations"}
QUERIES = {"head_compositions.q", "head_compositions.k"}
EVERYTHING = EFFECTS | SCORES | {"head_compositions", "head_norms"}
LEFT_OUT = {
    "gpt_neo": (WINDOW, SCORES),
    "qwen3": (NORMALISED, SCORES | QUERIES),
    "gemma2": (AFTER_THE_BLOCK, EVERYTHING),
    "gemma3_text": (AFTER_THE_BLOCK, EVERYTHING),
    "olmo2": (AFTER_THE_BLOCK, EVERYTHING),
}
"""Some of what architectures have not, and how the reason begins; the others have everything."""


class Told(Silent):
    """What was said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_corpus(tmp_path_factory.mktemp("corpus"), 60)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Two of each that do nearly the same, with a neuron that may act on entropy."""
    folder, tokenizer = tmp_path_factory.mktemp("models"), factories.byte_bpe_tokenizer()
    made = {}
    for name in ARCHITECTURES:
        first = tiny_decoder(name, folder / f"{name}-0", 0, tokenizer)
        make_candidate(first)
        made[name] = [first, near_copy(first, folder / f"{name}-1")]
    return made


@pytest.fixture(scope="module")
def url(server: URL, template: str) -> Iterator[str]:
    with database(server, template) as made:
        yield made


def settings(url: str, models: list[Path], corpus: Path, **more: object) -> IngestSettings:
    given = {
        "only": BUT_SYNTAX, "context": CONTEXT, "max_tokens": TOKENS, "min_count": 5, "intervention_tokens": 300,
        "substitution_tokens": 300, "substitution_neurons": 2, "ablation_pairs": 2, "controls": 0, "device": "cpu", **more,
    }  # fmt: skip
    return IngestSettings(tuple(map(str, models)), str(corpus), database_url=url, **given)


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def published(
    request: pytest.FixtureRequest, url: str, models: dict[str, list[Path]], corpus: Path
) -> tuple[str, int, list[str]]:
    """An architecture, the run of its two seeds, and what the ingest told."""
    told = Told()
    report = ingest(settings(url, models[request.param], corpus), told)
    assert report.outcome == "published"
    return request.param, report.run_id, told.sentences


def left_out_of(url: str, run: int) -> set[str]:
    """What the run has not, of both models alike."""
    found = rows(url, "SELECT model_id, unnest(left_out) FROM run_undefined WHERE run_id = :run", run=run)
    both = [{what for model, what in found if model == one} for one in {model for model, _ in found}]
    assert not both or (len(both) == 2 and both[0] == both[1])
    return both[0] if both else set()


def test_what_is_not_defined_is_recorded_and_told(published: tuple[str, int, list[str]], url: str) -> None:
    name, run, told = published
    reason, expected = LEFT_OUT.get(name, ("", set()))
    left_out = left_out_of(url, run)
    assert bool(left_out) == bool(expected) and left_out >= expected
    assert not expected or ("weight_statistics.vocab_kurt" in expected) == ("weight_statistics.vocab_kurt" in left_out)
    reasons = rows(url, "SELECT DISTINCT reason FROM run_undefined WHERE run_id = :run", run=run)
    assert len(reasons) == (1 if expected else 0) and all(found.startswith(reason) for (found,) in reasons)
    said = [sentence for sentence in told if "because" in sentence]
    assert all(f"for {name}-0, {name}-1, because {reason}" in sentence for sentence in said)
    assert len(said) == (1 if expected else 0), "models that lack the same are told together"


def test_rows_are_there_but_for_what_is_left_out(published: tuple[str, int, list[str]], url: str) -> None:
    """And what is left out has no rows, or is NULL in all rows."""
    _, run, _ = published
    left_out = left_out_of(url, run)
    for what in left_out:
        place, _, condition = what.partition(" WHERE ")
        table, _, column = place.partition(".")
        there = f"SELECT count({column or '*'}) FROM {table} WHERE run_id = :run AND ({condition or 'true'})"
        assert rows(url, there, run=run) == [(0,)], what
    n_neurons = 2 * 2 * 24
    for table in {of.name for part in BUT_SYNTAX for of in parts.rows_of(part) if of.each == "neuron"}:
        assert rows(url, f"SELECT count(*) FROM {table} WHERE run_id = :run", run=run) == [(n_neurons,)], table
    columns = ("w_in_norm", "w_out_norm", "input_bias", "in_out_sim", "l2_penalty", "vocab_mean", "vocab_kurt", "logit_var")
    for column in columns:
        there = n_neurons if f"weight_statistics.{column}" not in left_out else 0
        assert rows(url, f"SELECT count({column}) FROM weight_statistics WHERE run_id = :run", run=run) == [(there,)], column
    for kind in ("w_in", "w_out", "logit_effect"):
        there = n_neurons if f"neuron_vectors WHERE kind = '{kind}'" not in left_out else 0
        counted = "SELECT count(*) FROM neuron_vectors WHERE run_id = :run AND kind = :kind"
        assert rows(url, counted, run=run, kind=kind) == [(there,)]
    for column in "qkvo":
        there = n_neurons if not {"head_compositions", f"head_compositions.{column}"} & left_out else 0
        assert rows(url, f"SELECT count({column}) FROM head_compositions WHERE run_id = :run", run=run) == [(there,)]
    some = ("logit_effects", "similar_neurons", "logit_explanations", "head_norms", "head_scores", "head_baselines",
            "explanations", "top_tokens", "examples", "subset_statistics", "next_token_statistics", "path_ablations",
            "ablation_relations", "interventions", "entropy_controls", "replaced_neurons", "substitutions")  # fmt: skip
    for table in some:
        there = rows(url, f"SELECT count(*) > 0 FROM {table} WHERE run_id = :run", run=run)
        assert there == [(table not in left_out,)], table


def test_correlations_are_finite(published: tuple[str, int, list[str]], url: str) -> None:
    _, run, _ = published
    found = rows(
        url,
        """SELECT count(*), count(u.max_corr) FILTER (WHERE u.max_corr BETWEEN -1 AND 1 AND NOT u.max_corr = 'NaN')
           FROM universality_by_model u JOIN activation_statistics a USING (run_id, neuron_id)
           WHERE run_id = :run AND NOT a.degenerate""",
        run=run,
    )
    ((n, finite),) = found
    assert n == finite and n >= 90


def test_verify_finds_no_difference(published: tuple[str, int, list[str]], url: str) -> None:
    _, run, _ = published
    engine = writer_engine(url)
    try:
        findings = [*verify(engine, run), *recompute(engine, run, 0, 0, "cpu", Silent())]
    finally:
        engine.dispose()
    assert [finding for finding in findings if finding.status != "ok"] == []
    assert {finding.check for finding in findings} >= {"checksum", "structure", "recomputation"}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_plan_says_what_is_left_out(
    name: str, models: dict[str, list[Path]], corpus: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # how sure seconds are is not asked here
    monkeypatch.setattr(sum_rates, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(rehearsal, "TIMES", 1)
    planned = preview(settings(url, models[name], corpus), Silent())
    reason = LEFT_OUT.get(name, ("",))[0]
    assert len(planned.undefined) == (1 if reason else 0) and all(reason in sentence for sentence in planned.undefined)
    measured = {phase.phase for phase in planned.phases if phase.job is not None and phase.job.job.kind == "measure"}
    assert any("effects on logits" in phase for phase in measured) == (not reason.startswith(AFTER_THE_BLOCK))
    assert [job for job in planned.jobs if job.seconds is None] == []


def test_parts_that_are_measured_are_all_but_syntax() -> None:
    assert {*parts.names()} - {*BUT_SYNTAX} == {"syntax"}
