"""`catalog.connect()`: the questions as methods of one object, for notebooks and tools."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from catalog.engine import check_schema, unreachable, writer_engine

if TYPE_CHECKING:
    import pandas as pd

    from catalog.jobs import RunProgress
    from catalog.neuron_page import NeuronPage, NeuronRef
    from catalog.queries import LabelFilter, UniversalFilter


class Catalog:
    """An open catalog. Every method asks one question and returns a DataFrame, unless it says otherwise.

    >>> with catalog.connect() as store:                                # doctest: +SKIP
    ...     store.find_labels(catalog.LabelFilter(family="alphabet"))
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __enter__(self) -> "Catalog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection; every question begins with a consistent view of the catalog and writes nothing."""
        try:
            with self.engine.connect() as connection:
                reading = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                yield reading
        except OperationalError as error:
            raise unreachable(self.engine, error) from None

    def find_labels(self, wanted: "LabelFilter") -> "pd.DataFrame":
        """See `catalog.queries.find_labels`."""
        from catalog import queries

        with self._reading() as connection:
            return queries.find_labels(connection, wanted)

    def count_labels(self, wanted: "LabelFilter") -> int:
        """See `catalog.queries.count_labels`."""
        from catalog import queries

        with self._reading() as connection:
            return queries.count_labels(connection, wanted)

    def universal_neurons(self, wanted: "UniversalFilter") -> "pd.DataFrame":
        """See `catalog.queries.universal_neurons`."""
        from catalog import queries

        with self._reading() as connection:
            return queries.universal_neurons(connection, wanted)

    def family_counts(self, model: str | None = None, run: int | None = None, by: str = "layer") -> "pd.DataFrame":
        """See `catalog.queries.family_counts`."""
        from catalog import queries

        with self._reading() as connection:
            return queries.family_counts(connection, model, run, by)

    def layer_profiles(self, model: str | None = None, run: int | None = None) -> "pd.DataFrame":
        """See `catalog.queries.layer_profiles`."""
        from catalog import queries

        with self._reading() as connection:
            return queries.layer_profiles(connection, model, run)

    def depth_matrix(self, model: str | None = None, run: int | None = None) -> "pd.DataFrame":
        """See `catalog.queries.depth_matrix`."""
        from catalog import queries

        with self._reading() as connection:
            return queries.depth_matrix(connection, model, run)

    def groups(self, min_size: int = 2, model: str | None = None, run: int | None = None, limit: int = 50) -> "pd.DataFrame":
        """See `catalog.queries.groups`."""
        from catalog import queries

        with self._reading() as connection:
            return queries.groups(connection, min_size, model, run, limit)

    def neuron(self, ref: "NeuronRef", run: int | None = None) -> "NeuronPage":
        """Everything about one neuron, see `catalog.neuron_page.neuron`."""
        from catalog import neuron_page

        with self._reading() as connection:
            return neuron_page.neuron(connection, ref, run)

    def neuron_matches(
        self, ref: "NeuronRef", run: int | None = None, other_model: str | None = None, limit: int = 50
    ) -> "pd.DataFrame":
        """See `catalog.neuron_page.neuron_matches`."""
        from catalog import neuron_page

        with self._reading() as connection:
            return neuron_page.neuron_matches(connection, ref, run, other_model, limit)

    def examples(self, ref: "NeuronRef", run: int | None = None, kind: str | None = None, limit: int = 0) -> "pd.DataFrame":
        """See `catalog.neuron_page.examples`."""
        from catalog import neuron_page

        with self._reading() as connection:
            return neuron_page.examples(connection, ref, run, kind, limit)

    def similar(
        self,
        ref: "NeuronRef",
        by: str = "w_out",
        opposite: bool = False,
        other_model: str | None = None,
        run: int | None = None,
        limit: int = 20,
    ) -> "pd.DataFrame":
        """See `catalog.similar.similar`."""
        from catalog import similar

        with self._reading() as connection:
            return similar.similar(connection, ref, by, opposite, other_model, run, limit)

    def models(self) -> "pd.DataFrame":
        """See `catalog.queries.models`."""
        from catalog import queries

        with self._reading() as connection:
            return queries.models(connection)

    def runs(self) -> "pd.DataFrame":
        """See `catalog.queries.runs`."""
        from catalog import queries

        with self._reading() as connection:
            return queries.runs(connection)

    def run(self, run: int) -> dict[str, Any]:
        """Everything recorded of one run."""
        from catalog import queries

        with self._reading() as connection:
            return queries.run_details(connection, run)

    def delete_run(self, run: int) -> None:
        """Delete a run with all its rows, see `catalog.runs.delete_run`."""
        from catalog import runs

        runs.delete_run(self.engine, run)

    def cancel_run(self, run: int) -> None:
        """End a queued or running run, see `catalog.runs.cancel_run`."""
        from catalog import runs

        runs.cancel_run(self.engine, run)

    def run_progress(self, run: int) -> "RunProgress":
        """How far a run is, see `catalog.jobs.run_progress`."""
        from catalog import jobs

        with self._reading() as connection:
            return jobs.run_progress(connection, run)

    def list_rules(self) -> "pd.DataFrame":
        """See `catalog.rules.list_rules`."""
        from catalog import rules

        with self._reading() as connection:
            return rules.list_rules(connection)

    def set_rule(self, rule: str, value: float) -> int:
        """Change a threshold in the draft, see `catalog.rules.set_rule`; returns the draft's version."""
        from catalog import rules

        with self.engine.begin() as connection:
            return rules.set_rule(connection, rule, value)

    def relabel(self) -> dict[int, dict[str, int]]:
        """Apply the newest rules to every published run, see `catalog.labels.relabel`; counts by run and family."""
        from catalog import labels

        return labels.relabel(self.engine)


def connect(url: str | None = None) -> Catalog:
    """Open the catalog of CATALOG_DATABASE_URL, or the embedded one, which is started if need be.

    Raises:
        DatabaseError: it cannot be reached, or its schema is not the one this code needs.
    """
    engine = writer_engine(url)
    try:
        check_schema(engine)
    except BaseException:
        engine.dispose()
        raise
    return Catalog(engine)
