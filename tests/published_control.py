"""A published control of the small published family, made by the real way of staging and publishing."""

from sqlalchemy import Engine

from catalog.rows import Definition
from catalog.runs.controls import record_control
from catalog.runs.life import begin_run
from tests.published import PARTS, identified, spec_of, stage_small_family
from tests.published_rows import MODELS

CONTROLLED = {name: definition for name, definition in PARTS.items() if name not in ("weights", "correlations", "next_tokens")}


def publish_control(
    engine: Engine, run: int, number: int = 1, parts: dict[str, Definition] = CONTROLLED, d_model: int = 8
) -> int:
    """Publish one, of the first model of the run; its run's id."""
    name = f"{MODELS[0]}~{number}"
    with begin_run(engine, spec_of(f"control {number} of run {run}", parts)) as handle:
        record_control(engine, run, handle.run_id)
        rows = stage_small_family(handle, [name])
        ((row, ids),) = rows.models
        twin = identified(row._replace(control_of=f"identity of {MODELS[0]}", d_model=d_model))
        handle.set_phase("publish")
        handle.publish(
            type(rows)(**vars(rows) | {"models": [(twin, ids)], "parts": parts, "groups": [], "pair_run_of": {}})
        )
        return handle.run_id
