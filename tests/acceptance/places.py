"""A catalog of its own for the tests of a module, with real processes; see tests.faults.place."""

from collections.abc import Iterator

import pytest

from tests.conftest import folder_of_a_server
from tests.faults.launcher import Launcher
from tests.faults.place import Place

SOME_OF_EACH = ("weights", "activations", "correlations", "vocabulary", "examples", "redundancy", "entropy")
"""Parts with measures of every kind: of weights, of layers, of pairs and of models. `make faults` has all parts."""


@pytest.fixture(scope="module", name="place")
def a_place(launcher: Launcher) -> Iterator[Place]:
    """Commands as processes on an embedded server that nobody else uses; each test begins with `reset`."""
    with folder_of_a_server() as folder:
        made = Place(folder, launcher, documents=120, parts=SOME_OF_EACH, held_tokens=256, d_mlp=120)
        yield made
        made.close()
