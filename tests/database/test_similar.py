"""Search by similarity: every vector is compared, within a model and across models."""

from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import URL, Engine

from catalog.api import Catalog
from catalog.errors import InputError, NotFoundError
from catalog.questions.neuron_page import NeuronRef
from catalog.rows import Definition, ModelIds, ModelRow, PublishRows
from catalog.runs.deletion import delete_run
from catalog.runs.life import begin_run
from catalog.server.engine import writer_engine
from tests.conftest import database
from tests.database.helpers import one
from tests.published import TOKENIZER, identified, spec_of
from tests.published_corpus import TOKENS

NAMES, D_MLP, D_MODEL, D_EFFECT = ("big-a", "big-b", "big-c"), 1500, 32, 48
NEAREST = 50
ZERO = 7
"""A neuron without w_in."""

Made = dict[tuple[str, str], np.ndarray]
"""(neurons, dimensions) float16 of norm 1, by model and kind."""


@pytest.fixture(scope="module")
def made() -> Made:
    """Random directions, among which neighbours are hardest to find."""
    generator = np.random.default_rng(0)
    found = {}
    for name in NAMES:
        for kind, width in (("w_in", D_MODEL), ("w_out", D_MODEL), ("logit_effect", D_EFFECT)):
            plain = generator.normal(size=(D_MLP, width))
            found[name, kind] = (plain / np.linalg.norm(plain, axis=1, keepdims=True)).astype(np.float16)
    return found


@pytest.fixture(scope="module")
def big(server: URL, template: str, made: Made) -> Iterator[Engine]:
    """A published run of three models with vectors."""
    with database(server, template) as url:
        engine = writer_engine(url)
        publish(engine, NAMES, made)
        yield engine
        engine.dispose()


def publish(engine: Engine, names: tuple[str, ...], made: Made) -> None:
    with begin_run(engine, spec_of("vectors", {"redundancy": Definition()})) as handle:
        models = [_model(name) for name in names]
        ids = handle.reserve(models, TOKENIZER.sha256)
        for name, own in zip(names, ids, strict=True):
            for kind in ("w_in", "w_out", "logit_effect"):
                handle.stage("neuron_vectors", _rows(own, kind, made[name, kind]))
        handle.set_phase("publish")
        handle.publish(_publication(models, ids, handle.run_id))


def _model(name: str) -> ModelRow:
    row = ModelRow(
        name=name, revision="", model_family="big", seed=0, seed_varies=None, architecture="gpt2", activation_function="relu",
        n_layers=1, d_model=D_MODEL, d_mlp=D_MLP, n_heads=2, d_head=16, d_vocab=len(TOKENS), n_ctx=64,
        weights_sha256=f"weights of {name}", behaviour="", identity="", weight_processing="folded", source=name,
    )  # fmt: skip
    return identified(row)


def _rows(own: ModelIds, kind: str, vectors_of: np.ndarray) -> dict[str, np.ndarray]:
    kept = np.flatnonzero(np.arange(D_MLP) != ZERO) if kind == "w_in" else np.arange(D_MLP)
    return {
        "neuron_id": own.neuron_ids[kept],
        "kind": np.full(len(kept), kind.encode()),
        "model_id": np.full(len(kept), own.model_id, dtype=np.int32),
        "vector": vectors_of[kept],
    }


def _publication(models: list[ModelRow], ids: list[ModelIds], run: int) -> PublishRows:
    return PublishRows(
        models=list(zip(models, ids, strict=True)), tokenizer=TOKENIZER, corpus=None,
        features=[], feature_ids={}, feature_tokens={}, statistics_run_of={own.model_id: run for own in ids}, pair_run_of={},
        groups=[], parts={"redundancy": Definition()},
    )  # fmt: skip


def exact(made: Made, by: str, model: str, neuron: int, others: tuple[str, ...]) -> list[tuple[float, str, int]]:
    """(cosine, model, neuron) of all other neurons, nearest first, in float64."""
    own = made[model, by][neuron].astype(np.float64)
    found = []
    for other in others:
        values = made[other, by].astype(np.float64)
        cosines = values @ own / np.linalg.norm(values, axis=1) / np.linalg.norm(own)
        skipped = ({ZERO} if by == "w_in" else set()) | ({neuron} if other == model else set())
        found += [(float(cosine), other, i) for i, cosine in enumerate(cosines) if i not in skipped]
    return sorted(found, reverse=True)


WITHIN, ALL, LAST = NAMES[:1], NAMES, NAMES[2:]


@pytest.mark.parametrize("opposite", [False, True])
@pytest.mark.parametrize(
    ("by", "other", "among"),
    [("w_out", None, WITHIN), ("w_in", None, WITHIN), ("logit_effect", None, ALL), ("logit_effect", NAMES[2], LAST)],
)
def test_the_search_misses_none(
    big: Engine, made: Made, by: str, other: str | None, among: tuple[str, ...], opposite: bool
) -> None:
    """The 50 of a float64 computation, but for such as are within the rounding of float32 of the fiftieth."""
    store = Catalog(big)
    for neuron in range(0, 200, 10):
        expected = exact(made, by, NAMES[0], neuron, among)
        expected = expected[::-1] if opposite else expected
        found = store.similar(NeuronRef(NAMES[0], 0, neuron), by, opposite, other, limit=NEAREST)
        assert list(found["cosine"]) == pytest.approx([cosine for cosine, _, _ in expected[:NEAREST]], abs=1e-6)
        cosines = {(model, index): cosine for cosine, model, index in expected}
        for row in found.itertuples():
            assert row.cosine == pytest.approx(cosines.pop((row.model, row.neuron)), abs=1e-6)


def test_all_neurons_are_told_apart_from_the_asked_one(big: Engine, made: Made) -> None:
    found = Catalog(big).similar(NeuronRef(NAMES[0], 0, 3), "logit_effect", limit=0)
    assert len(found) == len(NAMES) * D_MLP - 1
    assert (NAMES[0], 3) not in set(zip(found["model"], found["neuron"], strict=True))


@pytest.mark.parametrize(("dimensions", "inline"), [(768, True), (4000, True), (4100, False), (16000, False)])
def test_vectors_stay_in_their_rows_where_these_fit_a_page(engine: Engine, dimensions: int, inline: bool) -> None:
    values = np.random.default_rng(1).normal(size=(D_MLP, dimensions)).astype(np.float16)
    narrow = {(NAMES[0], kind): values[:, :8] for kind in ("w_in", "w_out")}
    publish(engine, NAMES[:1], {**narrow, (NAMES[0], "logit_effect"): values})
    toast = "SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'neuron_vectors_run_1'::regclass"
    away = one(engine, f"SELECT count(DISTINCT chunk_id) FROM {one(engine, toast)}")
    assert away == (0 if inline else D_MLP)
    assert len(Catalog(engine).similar(NeuronRef(NAMES[0], 0, 3), "logit_effect", limit=5)) == 5


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"by": "w_mid"}, InputError, "'w_mid' is no kind of vector; choose from w_in, w_out, logit_effect"),
        ({"other_model": NAMES[1]}, InputError, "share no basis; ask --by logit_effect"),
        ({"other_model": NAMES[0]}, InputError, f"--other-model {NAMES[0]} cannot act"),
        ({"limit": -1}, InputError, "--limit -1: neither may be negative"),
        ({"by": "w_in"}, NotFoundError, f"{NAMES[0]} 0.{ZERO} has no w_in, its weights are zero"),
        ({"other_model": "nobody"}, NotFoundError, "there is no model 'nobody'"),
    ],
)
def test_bad_questions_get_a_sentence(big: Engine, arguments: dict[str, object], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        Catalog(big).similar(NeuronRef(NAMES[0], 0, ZERO), **arguments)  # type: ignore[arg-type]


def test_a_run_without_vectors_says_how_to_have_them(published_family: int, engine: Engine) -> None:
    with pytest.raises(
        NotFoundError, match="has no vectors of pocket-gpt2-a; repeat its `catalog ingest` with --only redundancy"
    ):
        Catalog(engine).similar(NeuronRef("pocket-gpt2-a", 0, 1))


def test_vectors_go_with_their_run(engine: Engine, made: Made) -> None:
    publish(engine, NAMES[:1], made)
    assert one(engine, "SELECT count(*) FROM neuron_vectors") == 3 * D_MLP - 1
    delete_run(engine, 1)
    assert one(engine, "SELECT count(*) FROM pg_class WHERE relname LIKE '%neuron_vectors_run%'") == 0
