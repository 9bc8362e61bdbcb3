"""`catalog runs`: what was computed, when, from what."""

import time
from typing import Annotated

import typer

from catalog.errors import RunError
from cli.options import FormatOption, finite
from cli.output import Format, show_page, show_rows, talk, tell_why
from cli.progress import watch

app = typer.Typer(name="runs", help="Computations: list, show, watch, cancel, delete.", no_args_is_help=True)

RunArgument = Annotated[int, typer.Argument(metavar="RUN", min=1, help="A run's id, as in `catalog runs list`.")]


@app.command("list")
def list_runs(format: FormatOption = Format.TABLE) -> None:
    """All runs, newest first."""
    from catalog import connect_rows
    from catalog.endings import WORDS

    with connect_rows() as store:
        runs = store.runs()
    show_rows(runs, format)
    tell_why(len(runs), lambda: "the catalog has no run yet; `catalog ingest` or `make demo` makes one")
    unfinished = [row["run"] for row in runs.records() if row["status"] in WORDS]
    if unfinished:
        named = f"run {unfinished[0]}" if len(unfinished) == 1 else f"any of the runs {', '.join(map(str, unfinished))}"
        talk(f"the same `catalog ingest` resumes {named}")


@app.command("show")
def show_run(run: RunArgument, format: FormatOption = Format.TABLE) -> None:
    """One run: models, corpus, settings, versions, device and times."""
    from catalog import connect_rows
    from catalog.endings import WORDS, ended

    with connect_rows() as store:
        details = store.run(run)
    show_page(f"run {run}", details, [], format)
    if details["status"] in WORDS:
        talk(f"{ended(run, details['status'], details['error'])}; the same `catalog ingest` resumes it")


@app.command("watch")
def watch_run(
    run: RunArgument,
    every: Annotated[float, typer.Option("--every", min=0.1, callback=finite, help="Seconds between looks.")] = 2.0,
) -> None:
    """Follow a run until it is published or has ended."""
    from catalog import connect_rows
    from catalog.endings import WORDS, ended

    with connect_rows() as store, watch() as progress:
        done: set[int] = set()
        tokens = 0
        state = store.run_progress(run)
        progress.phase(f"run {run}", sum(job.tokens for job in state.jobs) or None, "tokens")
        while True:
            for job in state.jobs:
                if job.done and job.job not in done:
                    done.add(job.job)
                    progress.say(f"job {job.job} ({job.kind}) is done, {len(done)} of {len(state.jobs)}; by {job.worker}")
            now = sum(job.tokens if job.done else job.tokens_done for job in state.jobs)
            progress.advance(max(0, now - tokens))
            tokens = max(now, tokens)
            if state.status not in ("queued", "running"):
                break
            time.sleep(every)
            state = store.run_progress(run)
    if state.status in WORDS:
        raise RunError(f"{ended(run, state.status, state.error)}; the same `catalog ingest` resumes it.")
    talk(f"run {run} is published")


@app.command("cancel")
def cancel_run(run: RunArgument) -> None:
    """End a queued or running run; the same ingest resumes it."""
    from catalog import connect_rows

    with connect_rows() as store:
        store.cancel_run(run)
    talk(f"run {run} is cancelled; whoever is at it leaves it within seconds, and the same `catalog ingest` resumes it")


@app.command("delete")
def delete_run(
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a run with all its rows."""
    from catalog import connect_rows

    if not yes:
        typer.confirm(f"Delete run {run} with all its rows?", abort=True, err=True)
    with connect_rows() as store:
        store.delete_run(run)
    talk(f"run {run} is deleted")
