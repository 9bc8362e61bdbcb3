"""What an ingest would find published already, and so would not compute: for its plan, before torch is imported."""

from dataclasses import dataclass, replace

from catalog.errors import SchemaError
from catalog.server.engine import check_schema, engine_if_there
from ingest.pipeline.recognise import recognise
from ingest.remembered.inputs import recall_inputs
from ingest.settings import IngestSettings


@dataclass(frozen=True)
class Foreseen:
    """What is left to plan."""

    settings: IngestSettings | None
    """With the parts that would be computed; None where a published run has all of them."""
    told: list[str]
    """What would become of a published run, a sentence each."""


def foresee(settings: IngestSettings) -> Foreseen:
    """Look for a published run with what is asked for, if models and corpus are remembered; else all of it is to be planned."""
    everything = Foreseen(settings, [])
    without_corpus = settings.needs_corpus and settings.corpus is None
    asked = None if settings.again or without_corpus else recall_inputs(settings)
    engine = None if asked is None else engine_if_there(settings.database_url)
    if asked is None or engine is None:
        return everything
    try:
        check_schema(engine)
        settings = settings.defined(asked.start)
        recognised = recognise(engine, settings, asked)
    except SchemaError:
        return everything
    finally:
        engine.dispose()
    if recognised.answer is not None:
        return Foreseen(None, [recognised.answer[1]])
    if recognised.run is None:
        return everything
    added = [part for part in recognised.missing if part not in recognised.run.parts]
    told = [f"run {recognised.run.id}: {', '.join(added)} would be added"] if added else []
    if recognised.lacks_controls and settings.controls:
        told.append(f"run {recognised.run.id}: its control would be measured")
    if not recognised.missing:
        return Foreseen(settings.of_control(1, settings.models[0]), told)
    left = replace(settings, only=recognised.missing, controls=settings.controls if recognised.lacks_controls else 0)
    return Foreseen(left, [*recognised.measured_again(settings), *told])
