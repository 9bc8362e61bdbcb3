"""The plan of a run, together with what it stands on: kept with the run, so that an interrupted one goes on with it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from catalog.rows import Definition
from catalog.runs import jobs, reuse
from catalog.runs.jobs import JobRow
from catalog.runs.reuse import Known
from ingest.features.topics import Topic, Topics
from ingest.plan.cut import Work
from ingest.plan.documents import as_json, from_json
from ingest.plan.items import Plan


@dataclass(frozen=True)
class RunPlan:
    """What a run computes, and how."""

    plan: Plan
    work: Work
    known: Known
    """What earlier runs have, which is copied."""
    models: list[str]
    """Identities of the models, in the order of the plan's indices."""
    definitions: dict[str, Definition]
    """What the numbers of each part follow."""
    topics: Topics | None = None
    """Found before the work is cut, for all who do it; None where they are not asked for."""

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.definitions)

    def record(self, connection: Connection, run_id: int) -> None:
        """Write it, in place of an earlier plan and its results."""
        plan = self.plan
        rows = [
            JobRow(
                job=job.number,
                kind=job.kind,
                after=list(job.after),
                tokens=plan.tokens(job),
                bytes=plan.bytes_needed(job),
                flop=plan.product_flop(job) + plan.forward_flop(job),
            )
            for job in plan.jobs
        ]
        document = {
            "plan": as_json(plan),
            "work": {"of_pairs": list(self.work.pairs), "by_part": self.work.by_part, "measured": self.work.measured},
            "known_models": self.known.models,
            "known_pairs": [[*pair, run] for pair, run in self.known.pairs.items()],
            "models": self.models,
            "definitions": self.definitions,
            "topics": None if self.topics is None else _topics_json(self.topics),
        }
        jobs.record_plan(connection, run_id, document, rows)


def stored_plan(connection: Connection, run_id: int) -> RunPlan | None:
    """The run's plan, if it has one and the runs it copies from still have what it copies."""
    document = jobs.plan_of(connection, run_id)
    if document is None:
        return None
    stored = _from_document(document)
    sources = {*stored.known.models.values(), *stored.known.pairs.values()}
    return stored if reuse.serves(connection, sources, stored.definitions) else None


def _from_document(document: dict[str, Any]) -> RunPlan:
    work = document["work"]
    return RunPlan(
        plan=from_json(document["plan"]),
        work=Work(
            pairs=tuple((a, b) for a, b in work["of_pairs"]),
            by_part={part: tuple(models) for part, models in work["by_part"].items()},
            measured={part: tuple(models) for part, models in work["measured"].items()},
        ),
        known=Known(document["known_models"], {(one, other): run for one, other, run in document["known_pairs"]}),
        models=document["models"],
        definitions={part: Definition(*definition) for part, definition in document["definitions"].items()},
        topics=None if document["topics"] is None else _topics(*document["topics"]),
    )


def _topics_json(topics: Topics) -> list[Any]:
    return [topics.family, [[topic.name, list(topic.token_ids)] for topic in topics.topics]]


def _topics(family: str, topics: list[tuple[str, list[int]]]) -> Topics:
    return Topics(family, [Topic(name, tuple(ids)) for name, ids in topics])
