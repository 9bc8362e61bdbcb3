"""A real publication that stops at a place, to be killed there."""

import sys
import time

from catalog.publishing import publish
from catalog.runs.life import begin_run
from catalog.server.engine import writer_engine
from tests.database.helpers import HERE
from tests.published import spec_of, stage_small_family


def main() -> None:
    """Words: the database, and the place."""
    url, place = sys.argv[1:]
    handle = begin_run(writer_engine(url), spec_of("killed"))
    if place == "begun":
        _stop_here()
    rows = stage_small_family(handle)
    if place == "staged":
        _stop_here()
    handle.set_phase("publish")
    setattr(publish, place, _stop_here)
    handle.publish(rows)


def _stop_here(*arguments: object, **more: object) -> None:
    sys.stderr.write(HERE)
    sys.stderr.flush()
    time.sleep(600)
