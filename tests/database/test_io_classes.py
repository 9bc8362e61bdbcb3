"""Reading-and-writing classes in SQL: every class by its definition, labels, and what chance gives of each."""

import numpy as np
import pytest
from scipy.stats import beta
from sqlalchemy import Engine

from catalog import api
from catalog.words import IO_CLASSES
from tests.database.helpers import execute, one, rows
from tests.published_rows import D_MLP, MODELS, N_LAYERS

KEYS = {
    (1, 1, 1): "strengthening",
    (1, 1, 0): "atypical strengthening",
    (1, 0, 1): "conditional strengthening",
    (1, 0, 0): "atypical conditional strengthening",
    (0, 1, 1): "proportional change",
    (0, 1, 0): "atypical proportional change",
    (0, 0, 1): "orthogonal",
    (-1, 1, 1): "weakening",
    (-1, 1, 0): "atypical weakening",
    (-1, 0, 1): "conditional weakening",
    (-1, 0, 0): "atypical conditional weakening",
}
"""By (q(c1), |q(c2)|, [q(c3) = q(c1) q(c2)])."""
PLACES = np.array([-1.0, -0.7, -0.5, -0.2, 0.0, 0.5, 0.5000001, 0.9])
WIDTH, CENTRED = 16, 15
"""Dimensions of the weights of the published models, and without the mean."""


def by_key(c1: float, c2: float, c3: float, least: float = 0.5) -> str:
    """The class of a gated neuron by its definition."""
    q1, q2, q3 = (int(c > least) - int(c < -least) for c in (c1, c2, c3))
    return KEYS[q1, abs(q2), 1 if (q1, q2) == (0, 0) else int(q3 == q1 * q2)]


@pytest.fixture
def store(engine: Engine) -> api.Catalog:
    return api.Catalog(engine)


def set_cosines(engine: Engine, cosines: list[tuple[float | None, float | None, float | None]], gated: bool) -> None:
    """Give the first neurons of the first model these cosines, and the others none that is large."""
    execute(
        engine,
        """UPDATE weight_statistics SET in_out_sim = 0, mismatched_in_out_sim = 0.6, mismatched_index = 1,
               w_gate_norm = CASE WHEN :gated THEN 1 END, gate_out_sim = CASE WHEN :gated THEN 0 END,
               gate_in_sim = CASE WHEN :gated THEN 0 END, mismatched_gate_out_sim = CASE WHEN :gated THEN 0.4 END""",
        gated=gated,
    )
    for flat, (c1, c2, c3) in enumerate(cosines):
        execute(
            engine,
            """UPDATE weight_statistics SET in_out_sim = :c1, gate_out_sim = :c2, gate_in_sim = :c3 WHERE neuron_id =
               (SELECT n.id FROM neurons n JOIN models m ON m.id = n.model_id WHERE m.name = :model AND n.layer = :layer
                   AND n."index" = :place)""",
            c1=c1, c2=c2, c3=c3, model=MODELS[0], layer=flat // D_MLP, place=flat % D_MLP,
        )  # fmt: skip


def classes_of(engine: Engine) -> list[tuple[str | None, str | None]]:
    of_model = "SELECT class, mismatched_class FROM io_classes WHERE model = :model ORDER BY layer, neuron"
    return rows(engine, of_model, model=MODELS[0])


def test_the_words_are_the_definitions() -> None:
    assert set(IO_CLASSES) == set(KEYS.values()) and len(IO_CLASSES) == 11


def test_every_class_of_gated_neurons_is_its_key(engine: Engine, published_family: int) -> None:
    triples = [(c1, c2, c3) for c1 in PLACES for c2 in PLACES for c3 in PLACES]
    seen = set()
    for start in range(0, len(triples), N_LAYERS * D_MLP):
        some = [tuple(map(float, triple)) for triple in triples[start : start + N_LAYERS * D_MLP]]
        set_cosines(engine, some, gated=True)
        found = [name for name, _ in classes_of(engine)]
        assert found[: len(some)] == [by_key(*triple) for triple in some]
        seen |= set(found)
    assert seen == set(IO_CLASSES)


def test_a_sign_of_input_and_output_changes_no_class(engine: Engine, published_family: int) -> None:
    triples = [(0.8, 0.7, 0.6), (-0.8, 0.7, -0.6), (0.1, 0.7, 0.9), (0.8, 0.1, 0.9)]
    for sign in (1, -1):
        set_cosines(engine, [(c1, sign * c2, sign * c3) for c1, c2, c3 in triples], gated=True)
        assert [name for name, _ in classes_of(engine)][:4] == [by_key(*triple) for triple in triples]


def test_a_neuron_without_a_gate_is_of_one_of_three(engine: Engine, published_family: int) -> None:
    set_cosines(engine, [(0.6, None, None), (-0.6, None, None), (0.5, None, None), (None, None, None)], gated=False)
    found = classes_of(engine)
    assert [name for name, _ in found[:4]] == ["strengthening", "weakening", "orthogonal", None]
    assert {name for _, name in found} == {"strengthening"}, "of the mismatched cosine"


def test_an_undefined_cosine_gives_no_class(engine: Engine, published_family: int, store: api.Catalog) -> None:
    set_cosines(engine, [(0.9, None, 0.9), (0.9, 0.9, None), (None, 0.9, 0.9), (0.9, 0.9, 0.9)], gated=True)
    assert [name for name, _ in classes_of(engine)][:4] == [None, None, None, "strengthening"]
    store.relabel()
    assert one(engine, "SELECT count(*) FROM labels WHERE family = 'io_class'") == 1


def test_all_but_orthogonal_neurons_have_a_label(engine: Engine, published_family: int, store: api.Catalog) -> None:
    set_cosines(engine, [(0.6, 0.2, 0.1), (-0.9, 0.7, 0.1), (0.1, -0.8, 0.1), (0.4, 0.4, 0.9)], gated=True)
    store.relabel()
    labels = "SELECT subtype, score FROM neuron_labels WHERE family = 'io_class' ORDER BY layer, neuron"
    assert rows(engine, labels) == [
        ("conditional strengthening", 0.6), ("atypical weakening", 0.9), ("proportional change", 0.8),
    ]  # fmt: skip
    store.set_rule("io_class.min_cosine", 0.75)
    store.relabel()
    assert [name for name, _ in rows(engine, labels)] == ["conditional weakening", "proportional change"]
    assert [name for name, _ in classes_of(engine)][:4] == [
        "orthogonal", "conditional weakening", "proportional change", "orthogonal",
    ]  # fmt: skip


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 15, 16, 576, 767, 8192])
@pytest.mark.parametrize("least", [0.05, 0.3, 0.5, 0.95])
def test_a_cosine_of_random_directions_has_a_beta_distribution(engine: Engine, dimensions: int, least: float) -> None:
    found = one(engine, "SELECT cosine_above(:least, :dimensions)", least=least, dimensions=dimensions)
    half = (dimensions - 1) / 2
    expected = beta.sf((1 + least) / 2, half, half) if half else 0.5
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_of_no_cosine_is_anything_said(engine: Engine) -> None:
    asked = rows(engine, "SELECT cosine_above(1, 5), cosine_above(0, 5), cosine_above(-0.5, 5), cosine_above(0.5, 0)")
    assert asked == [(0.0, None, None, None)]


def _random_units(generator: np.random.Generator, n: int) -> np.ndarray:
    vectors = generator.standard_normal((n, 3, CENTRED))
    return vectors / np.linalg.norm(vectors, axis=2, keepdims=True)


@pytest.mark.parametrize("gated", [True, False])
def test_chance_is_what_random_directions_give(engine: Engine, published_family: int, store: api.Catalog, gated: bool) -> None:
    """The product of three cosines is exact for all that two of them decide."""
    set_cosines(engine, [(0.9, 0.9, 0.9)] if gated else [(0.9, None, None)], gated)
    execute(
        engine,
        "UPDATE models SET d_model = :width, weight_processing = 'fold_ln, center_writing_weights'",
        width=WIDTH,
    )
    store.relabel()
    n, generator = 400_000, np.random.default_rng(0)
    units = _random_units(generator, n)
    cosines = [(units[:, one] * units[:, other]).sum(1) for one, other in ((0, 1), (2, 1), (2, 0))]
    q = [(c > 0.5).astype(int) - (c < -0.5) for c in cosines]
    statement = """SELECT class, sum(expected_by_chance), sum(neurons), sum(mismatched_neurons) FROM io_class_counts
                   WHERE model = :model GROUP BY 1"""
    counts = {name: counted for name, *counted in rows(engine, statement, model=MODELS[0])}
    neurons = N_LAYERS * D_MLP
    expected = {name: share / neurons for name, (share, _, _) in counts.items()}
    assert sum(expected.values()) == pytest.approx(1) and sum(found for _, found, _ in counts.values()) == neurons
    assert counts["strengthening"][1] == 1 and counts["orthogonal"][1] == neurons - 1
    mismatched = ("conditional strengthening", "atypical conditional strengthening") if gated else ("strengthening",)
    assert [counts[name][2] for name in mismatched] == ([neurons - 1, 1] if gated else [neurons]), "of gate and input as before"
    second = np.abs(q[1]) if gated else np.zeros(n)
    for sign, own in ((1, "strengthening"), (-1, "weakening")):
        for is_large, names in ((1, (own, f"atypical {own}")), (0, (f"conditional {own}", f"atypical conditional {own}"))):
            if gated or not is_large:
                chosen = names if gated else (own,)
                share = ((q[0] == sign) & (second == is_large)).mean()
                assert sum(expected[name] for name in chosen) == pytest.approx(share, abs=5 * (share / n) ** 0.5)
    orthogonal = ((q[0] == 0) & (second == 0)).mean()
    assert expected["orthogonal"] == pytest.approx(orthogonal, abs=5 * ((1 - orthogonal) / n) ** 0.5)
    (family,) = rows(
        engine,
        """SELECT neurons, expected_by_chance, chance_ratio, chance_ratio_upper, control FROM family_counts
           WHERE model = :model AND family = 'io_class'""",
        model=MODELS[0],
    )
    by_chance = neurons * (1 - expected["orthogonal"])
    assert family[:4] == pytest.approx((1, by_chance, by_chance, by_chance)) and family[4] == "above 5 %"
    by_layer = "SELECT sum(expected_by_chance) FROM family_counts_by_layer WHERE model = :model AND family = 'io_class'"
    assert one(engine, by_layer, model=MODELS[0]) == pytest.approx(by_chance)
    assert store.chance_of("io_class", MODELS[0]).startswith(f"{by_chance:,.4g} neurons expected by chance")
