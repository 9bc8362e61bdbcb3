"""A run's jobs are left to workers."""

from catalog.runs import jobs
from ingest.jobs.queue import open_queue
from ingest.jobs.staging_folder import check_writable
from ingest.pipeline.planning import RunPlanner
from ingest.plan.run_plan import RunPlan
from ingest.progress import Progress


def enqueue(planner: RunPlanner, progress: Progress) -> RunPlan:
    """Plan a run and leave its jobs to workers.

    Raises:
        InputError: there is nothing for workers to do, or the staging folder cannot be written.
    """
    engine, handle = planner.engine, planner.handle
    planned = planner.plan(progress)
    check_writable(planner.store().folder)
    with engine.connect() as connection:
        states = jobs.states(connection, handle.run_id)
    with open_queue(engine.url) as queue:
        if all(state.done for state in states):
            queue.put_finish(handle.run_id)
        else:
            queue.put(handle.run_id, jobs.ready(states))
    handle.queue()
    return planned
