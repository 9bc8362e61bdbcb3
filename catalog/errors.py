"""One exception tree. A message names the value, the rule and the next command, in one sentence."""

import signal
from collections.abc import Iterable

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a process that ended itself on SIGTERM."""


class CatalogError(Exception):
    """Anything the user can understand and act on; the command line prints it without a traceback."""


class InputError(CatalogError):
    """A model, corpus, option or file that cannot be used."""


class DatabaseError(CatalogError):
    """The database cannot be reached, or refuses a statement."""


class SchemaError(DatabaseError):
    """The schema in the database is not the one this code needs."""


class NotFoundError(CatalogError):
    """A model, neuron, family or run that the catalog does not have."""


class RunError(CatalogError):
    """A run that cannot be started, resumed or published."""


class RunEnded(RunError):
    """The run was cancelled, deleted or published: nothing of it is left to do."""


class JobTaken(RunError):
    """Another process is at this job."""


class WorkerRefusal(RunError):
    """This worker cannot do the job, but another may."""


def no_such_run(run_id: int) -> str:
    """The sentence for a run that is not there."""
    return f"there is no run {run_id}; `catalog runs list` shows those that exist."


def did_you_mean(word: str, known: Iterable[str], before: str = "") -> str:
    """` (did you mean X?)` for a sentence that refuses a word; empty where nothing known is like it.

    Case does not count, so that of `Alphabet` the family alphabet is nearest.

    Args:
        before: what stands before each of the known, such as their folder.
    """
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in known}
    nearest = get_close_matches(word.lower(), by_lower, n=1)
    return f" (did you mean {before}{by_lower[nearest[0]]}?)" if nearest else ""


def interruption_in(error: BaseException) -> KeyboardInterrupt | SystemExit | None:
    """The interruption that an exception is, or that it hides: one in the middle of a library comes out as its error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (KeyboardInterrupt, SystemExit)):
            return seen
        seen = seen.__context__
    return None
