"""The small published family, whose neurons are given other explanations, and their labels."""

import pytest

from catalog import api
from tests.database.helpers import execute, one, rows
from tests.published_rows import D_MLP, MODELS

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


def explain(engine, run: int, neuron: object, *found: tuple[str, str, float]) -> None:
    """Store (feature, shift, variance reduction) as the ranked explanations of a neuron."""
    execute(engine, "DELETE FROM explanations WHERE neuron_id = :neuron", neuron=neuron)
    for rank, (feature, shift, score) in enumerate(found, start=1):
        execute(
            engine,
            """INSERT INTO explanations SELECT :run, :neuron, id, :shift, :score, 500, 11500, 2.5, 0.25, 1.5, :rank
               FROM features WHERE name = :feature""",
            run=run, neuron=neuron, feature=feature, shift=shift, score=score, rank=rank,
        )  # fmt: skip


def score_letter(engine, neuron: object, score: float, means: tuple[float | None, float | None, float | None]) -> None:
    execute(
        engine,
        """UPDATE letter_scores SET variance_reduction = :score, mean_a = :a, mean_b = :b, mean_c = :c
           WHERE neuron_id = :neuron""",
        neuron=neuron, score=score, a=means[0], b=means[1], c=means[2],
    )  # fmt: skip


def labels_of(engine, neuron: object) -> list[tuple]:
    statement = "SELECT family, subtype, round(score::numeric, 3)::float FROM labels WHERE neuron_id = :neuron ORDER BY 1, 2"
    return rows(engine, statement, neuron=neuron)
