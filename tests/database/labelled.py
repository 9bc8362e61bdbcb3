"""The small published family, whose neurons are given other explanations, and their labels."""

import pytest

from catalog import api
from tests.database.helpers import execute, one, rows
from tests.published_rows import D_MLP, MODELS, SCORES

LETTER_NEURON = D_MLP + 10
NEWEST = 1
"""The version of the rules that the newest migration brings."""


@pytest.fixture(name="run")
def published_run(published_family):
    """A published run; its id."""
    return published_family


@pytest.fixture(name="store")
def catalog_of_the_run(engine, run):
    return api.Catalog(engine)


def neuron_id(engine, flat: int, model: str = MODELS[0]) -> object:
    return one(
        engine,
        """SELECT n.id FROM neurons n JOIN models m ON m.id = n.model_id
           WHERE m.name = :name AND layer = :layer AND "index" = :i""",
        name=model,
        layer=flat // D_MLP,
        i=flat % D_MLP,
    )


GIVEN = (
    "frequency_in", "frequency_out", "rectified_in", "rectified_out", "partial_effect", "partial_variance_reduction", "overlap",
    "held_out_variance_reduction_se",
)  # fmt: skip
"""What explanations may be given beside their scores."""
INSIDE = {
    "frequency_in": 0.4, "frequency_out": 0.1, "rectified_in": 2.0, "rectified_out": 0.5, "partial_effect": 0.9,
    "partial_variance_reduction": 0.1, "overlap": 0.5,
}  # fmt: skip
"""Of a neuron that is active where the feature is, on the same tokens too."""


def explain(engine, run: int, neuron: object, *found: tuple[str, str, float], **given: float | None) -> None:
    """Store (feature, shift, variance reduction) as the ranked explanations of a neuron, on all documents and on each half."""
    execute(engine, "DELETE FROM explanations WHERE neuron_id = :neuron", neuron=neuron)
    for rank, (feature, shift, score) in enumerate(found, start=1):
        execute(
            engine,
            f"""INSERT INTO explanations (run_id, neuron_id, feature_id, shift, n_in, n_out, mean_in, mean_out, cohen_d, rank,
                                         {", ".join(SCORES)}, {", ".join(GIVEN)})
                SELECT :run, :neuron, id, :shift, 500, 11500, 2.5, 0.25, 1.5, :rank, :score, :score, :score,
                       {", ".join(f"CAST(:{name} AS float8)" for name in GIVEN)}
                  FROM features WHERE name = :feature""",
            run=run, neuron=neuron, feature=feature, shift=shift, score=score, rank=rank, **{**dict.fromkeys(GIVEN), **given},
        )  # fmt: skip


def score_letter(engine, neuron: object, score: float, means: tuple[float | None, float | None, float | None]) -> None:
    execute(
        engine,
        """UPDATE letter_scores SET held_out_variance_reduction = :score, mean_a = :a, mean_b = :b, mean_c = :c
           WHERE neuron_id = :neuron""",
        neuron=neuron, score=score, a=means[0], b=means[1], c=means[2],
    )  # fmt: skip


def labels_of(engine, neuron: object) -> list[tuple]:
    statement = "SELECT family, subtype, round(score::numeric, 3)::float FROM labels WHERE neuron_id = :neuron ORDER BY 1, 2"
    return rows(engine, statement, neuron=neuron)
