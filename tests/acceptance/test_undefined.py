"""Models of different kinds in one run: what is not defined for one is left out of it alone, and every answer says so."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from catalog import NeuronRef, connect_rows
from catalog.errors import NotFoundError
from catalog.questions import why_empty
from catalog.questions.queries import LabelFilter
from catalog.runs import deletion
from catalog.server.engine import writer_engine
from catalog.verify.checks import controls_of, verify
from ingest.pipeline.main_path import ingest
from ingest.progress import Silent
from ingest.recompute.neurons import recompute
from ingest.settings import IngestReport, IngestSettings
from tests import factories
from tests.acceptance.ingests import rows, small_corpus
from tests.commands import Answer, run_catalog, use_published_family
from tests.conftest import database
from tests.decoders import tiny_decoder

settings = use_published_family

catalog = run_catalog

NAMES = ("gpt2", "llama", "gemma2")
FIRST = ("weights", "activations", "vocabulary", "ngrams", "redundancy", "entropy")
REASON = "a norm stands between what a block gives and the residual stream, so that nothing in it writes by itself"
N_NEURONS = 48
BY_MODEL = "SELECT m.name, count({}) FROM {} w JOIN neurons n ON n.id = w.neuron_id JOIN models m ON m.id = n.model_id"
RECORDED = """SELECT m.name, u.part, u.measure FROM run_undefined u JOIN models m ON m.id = u.model_id
              WHERE u.run_id = :run ORDER BY 2, 3"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and one model of each kind."""
    made, tokenizer = tmp_path_factory.mktemp("inputs"), factories.byte_bpe_tokenizer()
    small_corpus(made, 40)
    for seed, name in enumerate(NAMES):
        tiny_decoder(name, made / name, seed, tokenizer)
    return made


@pytest.fixture(scope="module")
def url(server: URL, template: str, folder: Path) -> Iterator[str]:
    """A run of all three."""
    with database(server, template) as made:
        assert run(made, folder, NAMES, FIRST).run_id == 1
        yield made


def run(url: str, folder: Path, models: tuple[str, ...], only: tuple[str, ...], **more: object) -> IngestReport:
    given = {"context": 24, "max_tokens": 1600, "min_count": 5, "intervention_tokens": 300, "controls": 0, **more}
    arguments = tuple(str(folder / name) for name in models)
    return ingest(IngestSettings(arguments, str(folder / "corpus.jsonl"), only=only, database_url=url, **given), Silent())


def counted(url: str, what: str, table: str, run: int = 1) -> dict[str, int]:
    found = rows(url, f"{BY_MODEL.format(what, table)} WHERE w.run_id = :run GROUP BY 1", run=run)
    return {name: n for name, n in found if n}


def test_one_model_lacks_what_the_others_have(url: str) -> None:
    others = {"gpt2": N_NEURONS, "llama": N_NEURONS}
    assert counted(url, "w.vocab_kurt", "weight_statistics") == others
    assert counted(url, "w.w_out_norm", "weight_statistics") == {**others, "gemma2": N_NEURONS}
    assert counted(url, "*", "logit_effects") == {name: 60 * N_NEURONS for name in others}
    kinds = "(SELECT * FROM neuron_vectors WHERE kind = '{}')"
    assert counted(url, "*", kinds.format("logit_effect")) == others
    assert counted(url, "*", kinds.format("w_out")) == {**others, "gemma2": N_NEURONS}
    recorded = [("ngrams", "ngrams"), ("redundancy", "redundancy"), ("weights", "weights"), ("entropy", "entropy")]
    assert rows(url, RECORDED, run=1) == [("gemma2", *found) for found in sorted(recorded)]


def test_answers_without_rows_say_that_it_is_not_defined(url: str) -> None:
    with connect_rows(url) as store:
        neuron = NeuronRef("gemma2", 1, 3)
        said = store.why(why_empty.page, store.neuron(neuron))
        assert f"promoted, suppressed, interventions: not defined for gemma2, because {REASON}" in said
        with pytest.raises(NotFoundError, match="logit_effect is not defined for gemma2, because a norm stands"):
            store.similar(neuron, by="logit_effect")
        assert len(store.similar(neuron, by="w_out")) == 20
        assert len(store.similar(NeuronRef("llama", 1, 3), by="logit_effect", limit=0)) == 2 * N_NEURONS - 1
        told = {sentence.partition(": not defined")[0]: sentence for sentence in store.without_candidates()}
        families = "prediction, suppression, partition"
        assert told[families] == f"{families}: not defined for gemma2, because {REASON}"
        (of_entropy,) = (sentence for sentence in told.values() if sentence.startswith("entropy, anti_entropy: "))
        assert f"not defined for gemma2, because {REASON}" in of_entropy
        asked = LabelFilter(model="gemma2", family="prediction")
        assert len(store.find_labels(asked)) == 0
        assert store.why(why_empty.labels, asked) == f"not defined for gemma2, because {REASON}"
        assert "not defined" not in store.why(why_empty.labels, LabelFilter(model="gpt2", family="prediction"))


def test_a_run_says_what_it_has_not(url: str, catalog: Callable[..., Answer], settings: pytest.MonkeyPatch) -> None:
    settings.setenv("CATALOG_DATABASE_URL", url)
    shown = catalog("runs", "show", "1", "--format", "json").out
    assert "gemma2 has no " in shown and f"because {REASON}" in shown and "weight_statistics.vocab_kurt" in shown
    read = catalog("sql", "SELECT DISTINCT reason FROM run_undefined", "--format", "json")
    assert read.rows == [{"reason": REASON}]


def test_parts_that_come_later_say_theirs_and_a_run_takes_them_with_it(folder: Path, url: str) -> None:
    models = ("gemma2",)
    first = run(url, folder, models, ("activations",)).run_id
    assert rows(url, RECORDED, run=first) == []
    added = run(url, folder, models, ("activations", "ngrams", "prediction", "ablations"))
    assert (added.outcome, added.run_id) == ("parts_added", first)
    later = [("ablations", "head_norms"), ("ablations", "path_ablations"), ("ngrams", "ngrams"), ("prediction", "prediction")]
    assert rows(url, RECORDED, run=first) == [("gemma2", *found) for found in later]
    assert run(url, folder, models, ("activations", "ngrams")).outcome == "already_published"
    engine = writer_engine(url)
    try:
        assert [finding for finding in verify(engine, first) if finding.status != "ok"] == []
        deletion.delete_run(engine, first)
    finally:
        engine.dispose()
    assert rows(url, "SELECT DISTINCT run_id FROM run_undefined") == [(1,)]


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_a_control_is_measured_and_verified_as_its_run_is(name: str, folder: Path, url: str) -> None:
    only = ("activations", "vocabulary", "positions", "distributions", "ngrams", "topics")
    report = run(url, folder, (name,), only, controls=1, control_tokens=800)
    engine = writer_engine(url)
    try:
        (control,) = controls_of(engine, report.run_id)
        for each in (report.run_id, control):
            findings = [*verify(engine, each), *recompute(engine, each, 0, 0, "cpu", Silent())]
            assert [finding for finding in findings if finding.status != "ok"] == []
    finally:
        engine.dispose()
    undefined = [] if name == "llama" else [("ngrams", "ngrams")]
    for each in (report.run_id, control):
        assert [found[1:] for found in rows(url, RECORDED, run=each)] == undefined
