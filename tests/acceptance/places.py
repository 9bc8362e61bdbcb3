"""A catalog of its own for the tests of a module, with real processes; see bench.place."""

from collections.abc import Iterator

import pytest

from bench.launcher import Launcher
from bench.place import Place


@pytest.fixture(scope="module", name="place")
def a_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Commands as processes on an embedded server that nobody else uses; each test begins with `reset`."""
    launcher = Launcher()
    made = Place(tmp_path_factory.mktemp("place"), launcher, documents=200, d_mlp=60)
    yield made
    made.close()
    launcher.close()
