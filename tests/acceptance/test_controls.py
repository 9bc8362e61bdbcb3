"""Controls of an ingest: what is measured of a twin is what its weights and its rows give, and it costs nothing twice."""

from pathlib import Path

import numpy as np
import pytest
import torch

from catalog import parts
from catalog.runs import deletion
from catalog.server import migrate
from catalog.server.engine import writer_engine
from catalog.verify.checks import verify
from ingest.inputs import Inputs, load_inputs
from ingest.pipeline import phases
from ingest.pipeline.main_path import ingest
from ingest.preview.foreseen import foresee
from ingest.preview.overview import preview
from ingest.progress import Silent
from ingest.recompute.neurons import recompute
from ingest.settings import IngestReport, IngestSettings
from tests.acceptance.ingests import assert_same, contract, rows, small_corpus, tiny_family
from tests.acceptance.places import a_place
from tests.faults.place import Place
from tests.references import moments, variance_reduction

place = a_place

PARTS = ("activations", "vocabulary", "positions", "distributions", "ngrams", "topics")
CONTEXT, TOKENS = 32, 1600
N_ROWS = TOKENS // CONTEXT
def of_control(table: str, run: int = 2) -> str:
    """SQL: rows `s` of a table of a control's neurons `n`."""
    return f"""FROM {table} s JOIN neurons n ON n.id = s.neuron_id JOIN models m ON m.id = n.model_id
               AND m.control_of IS NOT NULL AND s.run_id = {run}"""


RUNS = "SELECT r.id, k.run_id, (SELECT count(*) FROM run_parts p WHERE p.run_id = r.id) FROM runs r LEFT JOIN run_controls k"
ALL_RUNS = f"{RUNS} ON k.control_run_id = r.id ORDER BY 1"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return tiny_family(tmp_path_factory.mktemp("models"), "ab")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_corpus(tmp_path_factory.mktemp("corpus"))


def asked(url: str, models: list[Path], corpus: Path, **more: object) -> IngestSettings:
    settings = {"only": PARTS, "context": CONTEXT, "control_tokens": TOKENS, "min_count": 5, **more}
    return IngestSettings(tuple(map(str, models)), str(corpus), database_url=url, **settings)


def run(url: str, models: list[Path], corpus: Path, **more: object) -> IngestReport:
    return ingest(asked(url, models, corpus, **more), Silent())


def inputs_of_control(settings: IngestSettings) -> Inputs:
    """What the first control reads."""
    one = settings.of_control(1, settings.models[0])
    return load_inputs(one, Silent())


@torch.inference_mode()
def activations(inputs: Inputs) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, which of their tokens are kept, and float64 pre and post of the kept ones, of the folded weights alone."""
    (twin,), corpus = inputs.checkpoints, inputs.corpus
    assert corpus is not None
    tokens = np.asarray(corpus.tokens).astype(np.int64)
    kept = corpus.kept_mask(tokens)
    pre = [layer.double().numpy() for layer, _ in twin.mlp_activations(torch.from_numpy(tokens))]
    joined = np.concatenate([layer[kept] for layer in pre], axis=1)
    x = torch.from_numpy(joined)
    post = 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    return tokens, kept, joined, post.numpy()


def test_a_twin_is_measured_on_its_own_rows(models: list[Path], corpus: Path, database_url: str) -> None:
    report = run(database_url, models, corpus)
    assert report.run_id == 1 and report.message.endswith("run 2 is its control")
    inputs = inputs_of_control(asked(database_url, models, corpus))
    tokens, kept, pre, post = activations(inputs)
    assert tokens.shape == (N_ROWS, CONTEXT) and inputs.whole_corpus is not None and inputs.whole_corpus.n_rows > 2 * N_ROWS
    table = rows(
        database_url,
        f"""SELECT s.n_tokens, s.mean, s.var, s.sparsity, s.post_mean {of_control('activation_statistics')}
            ORDER BY n.layer, n."index" """,
    )
    n_tokens, mean, var, sparsity, post_mean = np.array(table).T
    of_pre = moments(pre)
    assert (n_tokens == kept.sum()).all()
    np.testing.assert_allclose(mean, of_pre["mean"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(var, of_pre["var"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sparsity, (pre > 0).mean(0), atol=2 / kept.sum())
    np.testing.assert_allclose(post_mean, post.mean(0), rtol=1e-4, atol=1e-5)
    assert rows(database_url, f"SELECT DISTINCT s.n_rows {of_control('position_statistics')}") == [(N_ROWS,)]
    assert rows(database_url, "SELECT n_rows FROM corpora ORDER BY id DESC LIMIT 1") == [(N_ROWS,)]


def test_explanations_count_the_tokens_that_the_twin_read(models: list[Path], corpus: Path, database_url: str) -> None:
    """The features are those of the run, their supports and scores those of the twin's rows."""
    run(database_url, models, corpus)
    inputs = inputs_of_control(asked(database_url, models, corpus))
    tokens, kept, _, post = activations(inputs)
    explained = rows(
        database_url,
        f"""SELECT f.name, f.family, s.shift, n.layer * m.d_mlp + n."index", s.n_in, s.n_out, s.mean_in, s.variance_reduction,
                   (SELECT array_agg(t.token_id) FROM feature_tokens t WHERE t.feature_id = f.id)
            {of_control('explanations')} JOIN features f ON f.id = s.feature_id""",
    )
    previous = np.full_like(tokens, -1)
    previous[:, 1:] = tokens[:, :-1]
    subsets = inputs.corpus.subset_ids[:, None].repeat(CONTEXT, 1)
    families = set()
    for name, family, shift, neuron, n_in, n_out, mean_in, score, ids in explained:
        if family == "subset":
            member = subsets[kept] == inputs.corpus.subset_names.index(name.removeprefix("subset_"))
        else:
            member = np.isin((tokens if shift == "current" else previous)[kept], ids)
        families.add(family)
        assert (n_in, n_out) == (member.sum(), (~member).sum()), name
        assert mean_in == pytest.approx(post[member, neuron].mean(), rel=1e-4, abs=1e-5), name
        assert score == pytest.approx(variance_reduction(post[:, neuron], member), abs=1e-5), name
    assert len(explained) > 200 and {"subset", "unigram"} & families
    top = rows(
        database_url,
        f"""SELECT s.token_id, s.n, s.mean, n.layer * m.d_mlp + n."index" {of_control('top_tokens')}""",
    )
    for token, n, mean, neuron in top:
        here = tokens[kept] == token
        assert n == here.sum() and mean == pytest.approx(post[here, neuron].mean(), rel=1e-4, abs=1e-5)
    assert len(top) > 200


def test_the_run_is_as_without_controls(models: list[Path], corpus: Path, database_url: str, empty_database_url: str) -> None:
    """But for what chance says."""
    other = writer_engine(empty_database_url)
    migrate.upgrade(other)
    other.dispose()
    run(empty_database_url, models, corpus, controls=0)
    run(database_url, models, corpus)
    with_control, without = contract(database_url), contract(empty_database_url)
    for frames in (with_control, without):
        for name in ("family_counts", "family_counts_by_layer"):
            frames[name] = frames[name][["model", "family", "neurons", "universal_neurons"]]
    assert_same(with_control, without)
    statement = "SELECT DISTINCT control FROM family_counts ORDER BY 1"
    assert rows(empty_database_url, statement) == [("no control",)]
    assert {told for (told,) in rows(database_url, statement)} <= {"above 5 %", "at most 5 %", "no control"}
    no_control = "SELECT DISTINCT family FROM family_counts WHERE control = 'no control'"
    assert rows(database_url, no_control) == [], "every family that was looked for in the run was in its control"


def test_nothing_is_computed_twice(models: list[Path], corpus: Path, database_url: str) -> None:
    run(database_url, models, corpus, only=("activations",))
    assert rows(database_url, ALL_RUNS) == [(1, None, 1), (2, 1, 1)]
    again = run(database_url, models, corpus, only=("activations",))
    assert again.outcome == "already_published" and again.message.startswith("run 1 has it all")
    added = run(database_url, models, corpus, only=("activations", "positions"))
    assert added.message.startswith("run 1 now has positions as well") and added.message.endswith("run 2 is its control")
    assert rows(database_url, ALL_RUNS) == [(1, None, 2), (2, 1, 2)]
    counted = f"SELECT count(*) {of_control('position_statistics')}"
    assert rows(database_url, counted)[0][0] > 0
    before = rows(database_url, "SELECT part, published_at FROM run_parts WHERE run_id = 1 ORDER BY 1")
    more = run(database_url, models, corpus, only=("activations", "positions"), controls=2)
    assert more.outcome == "controls_added" and rows(database_url, ALL_RUNS) == [(1, None, 2), (2, 1, 2), (3, 1, 2)]
    others = run(database_url, models, corpus, only=("activations", "positions"), control_tokens=2 * TOKENS)
    assert others.outcome == "controls_added" and rows(database_url, ALL_RUNS)[-1] == (4, 1, 2)
    assert rows(database_url, ALL_RUNS)[1:3] == [(2, None, 2), (3, None, 2)], "other tokens take the place of the ones before"
    assert rows(database_url, "SELECT part, published_at FROM run_parts WHERE run_id = 1 ORDER BY 1") == before
    assert run(database_url, models, corpus, only=("activations", "positions"), controls=0).outcome == "already_published"
    alone = run(database_url, models[:1], corpus, only=("activations",))
    assert rows(database_url, ALL_RUNS)[-1] == (alone.run_id, None, 1), "the twin of its first model is known"
    assert (2, alone.run_id, 2) in rows(database_url, ALL_RUNS)


def test_runs_of_other_rows_and_seeds_share_a_twin(models: list[Path], corpus: Path, database_url: str) -> None:
    for seed in (0, 1):
        run(database_url, models, corpus, only=("activations",), seed=seed)
    assert rows(database_url, ALL_RUNS) == [(1, None, 1), (2, 1, 1), (3, None, 1), (4, 3, 1)]
    twins = "SELECT count(DISTINCT r.model_id), count(DISTINCT m.identity) FROM run_models r JOIN models m ON m.id = r.model_id"
    assert rows(database_url, f"{twins} WHERE m.control_of IS NOT NULL") == [(1, 1)]


def test_another_setting_of_a_part_has_the_control_measured_again(models: list[Path], corpus: Path, database_url: str) -> None:
    run(database_url, models, corpus, only=("vocabulary",))
    told = "SELECT DISTINCT control FROM family_counts WHERE family = 'alphabet'"
    assert rows(database_url, told) != [("no control",)]
    run(database_url, models, corpus, only=("vocabulary",), min_count=9, controls=0)
    assert rows(database_url, told) == [("no control",)], "that of another definition says nothing"
    run(database_url, models, corpus, only=("vocabulary",), min_count=9)
    assert rows(database_url, told) != [("no control",)] and len(rows(database_url, ALL_RUNS)) == 2
    settings = "SELECT DISTINCT settings ->> 'min_count' FROM run_parts WHERE part = 'vocabulary'"
    assert rows(database_url, settings) == [("9",)]


def test_weights_have_no_control(models: list[Path], database_url: str) -> None:
    report = ingest(IngestSettings(tuple(map(str, models)), only=("weights",), database_url=database_url), Silent())
    assert "control" not in report.message and rows(database_url, ALL_RUNS) == [(1, None, 1)]
    told = "SELECT DISTINCT control FROM family_counts WHERE family <> 'io_class'"
    assert rows(database_url, told) == [("no control of this kind",)], "a formula says what random directions give"


def test_a_control_is_verified(models: list[Path], corpus: Path, database_url: str) -> None:
    run(database_url, models, corpus)
    engine = writer_engine(database_url)
    try:
        for each in (1, 2):
            assert {finding.status for finding in verify(engine, each)} == {"ok"}
            assert {finding.status for finding in recompute(engine, each, 8, 0, "cpu", Silent())} == {"ok"}
        deletion.delete_run(engine, 1)
    finally:
        engine.dispose()
    assert rows(database_url, ALL_RUNS) == []


def test_the_plan_has_the_control(models: list[Path], corpus: Path, database_url: str) -> None:
    settings = asked(database_url, models, corpus, only=("activations", "positions"), controls=2)
    jobs = [phase.job for phase in preview(settings, Silent()).phases if phase.job is not None]
    accumulated = [job for job in jobs if job.job.kind == "accumulate"]
    assert [job.tokens for job in accumulated][1:] == [TOKENS, TOKENS] and accumulated[0].tokens > TOKENS
    assert [job.what.partition(":")[0] for job in accumulated[1:]] == [f"{models[0].name}~1", f"{models[0].name}~2"]
    ingest(settings, Silent())
    assert foresee(settings).settings is None
    left = foresee(asked(database_url, models, corpus, only=("activations", "positions"), controls=3))
    assert left.settings is not None and left.told == ["run 1: its control would be measured"]
    assert {job.tokens for phase in preview(left.settings, Silent()).phases if (job := phase.job)} <= {0, TOKENS}
    assert parts.of_controls() == tuple(part for part in parts.names() if part in (*PARTS, "syntax"))


def test_workers_measure_the_control(place: Place) -> None:
    command = [*place.ingest, "--controls", "1", "--only", ",".join(PARTS), "--control-tokens", "2000"]
    place.reset()
    place.run(*command)
    inline, twin = place.contract(), place.rows(_statistics())
    assert len(twin) > 0
    place.reset()
    assert "its control, run 2, is queued as" in place.run(*command, "--enqueue", "--jobs", "3")
    workers = [place.start(*place.worker) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert place.rows("SELECT id, status FROM runs ORDER BY 1") == [(1, "published"), (2, "published")]
    assert_same(place.contract(), inline)
    np.testing.assert_allclose(np.array(place.rows(_statistics()), float), np.array(twin, float), rtol=1e-5, atol=1e-6)
    assert not place.leftovers()


def _statistics() -> str:
    return f"""SELECT s.n_tokens, s.mean, s.var, s.sparsity {of_control('activation_statistics')}
               ORDER BY n.layer, n."index" """


def test_an_interrupted_control_is_resumed(
    models: list[Path], corpus: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = phases.run_jobs

    def interrupted(context, handle, progress):
        if context.inputs.original is not None:
            raise KeyboardInterrupt
        usual(context, handle, progress)

    monkeypatch.setattr(phases, "run_jobs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(database_url, models, corpus)
    states = "SELECT id, status, published_at IS NOT NULL FROM runs ORDER BY 1"
    assert rows(database_url, states) == [(1, "published", True), (2, "interrupted", False)]
    assert rows(database_url, "SELECT DISTINCT control FROM family_counts") == [("no control",)]
    monkeypatch.undo()
    report = run(database_url, models, corpus)
    assert (report.outcome, report.run_id) == ("controls_added", 1)
    assert rows(database_url, states) == [(1, "published", True), (2, "published", True)]
    assert ("no control",) not in rows(database_url, "SELECT DISTINCT control FROM family_counts")
