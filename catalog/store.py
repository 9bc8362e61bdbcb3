"""The questions as methods of one object, whatever their rows are shown as; see `catalog.api`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from catalog.answers import Rows
from catalog.server.engine import unreachable

if TYPE_CHECKING:
    from catalog.questions.findings import Findings, FindingsFilter
    from catalog.questions.neuron_page import NeuronPage, NeuronRef
    from catalog.questions.queries import LabelFilter
    from catalog.questions.universal import UniversalFilter
    from catalog.runs.jobs import RunProgress

Table = TypeVar("Table")
Said = TypeVar("Said")
Asked = ParamSpec("Asked")
Self = TypeVar("Self", bound="Store[Any]")


class Store(Generic[Table]):
    """An open catalog. Every method asks one question and returns one table, unless it says otherwise."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def _shown(self, rows: Rows) -> Table:
        """The rows as the kind of table that this store gives."""
        raise NotImplementedError

    def __enter__(self: Self) -> Self:
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

    def find_labels(self, wanted: "LabelFilter") -> Table:
        """See `catalog.questions.queries.find_labels`."""
        from catalog.questions import queries

        with self._reading() as connection:
            return self._shown(queries.find_labels(connection, wanted))

    def count_labels(self, wanted: "LabelFilter") -> int:
        """See `catalog.questions.queries.count_labels`."""
        from catalog.questions import queries

        with self._reading() as connection:
            return queries.count_labels(connection, wanted)

    def universal_neurons(self, wanted: "UniversalFilter") -> Table:
        """See `catalog.questions.universal.universal_neurons`."""
        from catalog.questions import universal

        with self._reading() as connection:
            return self._shown(universal.universal_neurons(connection, wanted))

    def count_universal(self, wanted: "UniversalFilter") -> int:
        """See `catalog.questions.universal.count_universal`."""
        from catalog.questions import universal

        with self._reading() as connection:
            return universal.count_universal(connection, wanted)

    def family_counts(self, model: str | None = None, run: int | None = None, by: str = "layer") -> Table:
        """See `catalog.questions.queries.family_counts`."""
        from catalog.questions import queries

        with self._reading() as connection:
            return self._shown(queries.family_counts(connection, model, run, by))

    def chance_of(self, family: str, model: str | None = None, run: int | None = None) -> str:
        """See `catalog.questions.queries.chance_of`."""
        from catalog.questions import queries

        with self._reading() as connection:
            return queries.chance_of(connection, family, model, run)

    def without_candidates(self, model: str | None = None, run: int | None = None) -> list[str]:
        """See `catalog.questions.candidates.without_candidates`."""
        from catalog.questions import candidates

        with self._reading() as connection:
            return candidates.without_candidates(connection, model, run)

    def layer_profiles(self, model: str | None = None, run: int | None = None) -> Table:
        """See `catalog.questions.queries.layer_profiles`."""
        from catalog.questions import queries

        with self._reading() as connection:
            return self._shown(queries.layer_profiles(connection, model, run))

    def depth_matrix(self, model: str | None = None, run: int | None = None) -> Table:
        """See `catalog.questions.queries.depth_matrix`."""
        from catalog.questions import queries

        with self._reading() as connection:
            return self._shown(queries.depth_matrix(connection, model, run))

    def findings(self, wanted: "FindingsFilter") -> "Findings":
        """See `catalog.questions.findings.findings`."""
        from catalog.questions import findings

        with self._reading() as connection:
            return findings.findings(connection, wanted)

    def groups(self, min_size: int = 2, model: str | None = None, run: int | None = None, limit: int = 50) -> Table:
        """See `catalog.questions.groups.groups`."""
        from catalog.questions import groups

        with self._reading() as connection:
            return self._shown(groups.groups(connection, min_size, model, run, limit))

    def count_groups(self, min_size: int = 2, model: str | None = None, run: int | None = None) -> int:
        """See `catalog.questions.groups.count_groups`."""
        from catalog.questions import groups

        with self._reading() as connection:
            return groups.count_groups(connection, min_size, model, run)

    def neuron(self, ref: "NeuronRef", run: int | None = None) -> "NeuronPage[Table]":
        """Everything about one neuron, see `catalog.questions.neuron_page.neuron`."""
        from catalog.questions import neuron_page

        with self._reading() as connection:
            return neuron_page.neuron(connection, ref, run).each(self._shown)

    def neuron_matches(
        self, ref: "NeuronRef", run: int | None = None, other_model: str | None = None, limit: int = 50
    ) -> Table:
        """See `catalog.questions.neuron_page.neuron_matches`."""
        from catalog.questions import neuron_page

        with self._reading() as connection:
            return self._shown(neuron_page.neuron_matches(connection, ref, run, other_model, limit))

    def count_matches(self, ref: "NeuronRef", run: int | None = None, other_model: str | None = None) -> int:
        """See `catalog.questions.neuron_page.count_matches`."""
        from catalog.questions import neuron_page

        with self._reading() as connection:
            return neuron_page.count_matches(connection, ref, run, other_model)

    def best_partners(self, refs: Sequence["NeuronRef"], run: int | None = None) -> Table:
        """See `catalog.questions.partners.best_partners`."""
        from catalog.questions import partners

        with self._reading() as connection:
            return self._shown(partners.best_partners(connection, refs, run))

    def examples(self, ref: "NeuronRef", run: int | None = None, kind: str | None = None, limit: int = 0) -> Table:
        """See `catalog.questions.neuron_page.examples`."""
        from catalog.questions import neuron_page

        with self._reading() as connection:
            return self._shown(neuron_page.examples(connection, ref, run, kind, limit))

    def similar(
        self,
        ref: "NeuronRef",
        by: str = "w_out",
        opposite: bool = False,
        other_model: str | None = None,
        run: int | None = None,
        limit: int = 20,
    ) -> Table:
        """See `catalog.questions.similar.similar`."""
        from catalog.questions import similar

        with self._reading() as connection:
            return self._shown(similar.similar(connection, ref, by, opposite, other_model, run, limit))

    def count_similar(self, ref: "NeuronRef", by: str = "w_out", other_model: str | None = None, run: int | None = None) -> int:
        """See `catalog.questions.similar.count_similar`."""
        from catalog.questions import similar

        with self._reading() as connection:
            return similar.count_similar(connection, ref, by, other_model, run)

    def why(self, reason: Callable[Concatenate[Connection, Asked], Said], *asked: Asked.args, **more: Asked.kwargs) -> Said:
        """Why a question had no rows: what the function of `catalog.questions.why_empty` says that is for it.

        >>> store.why(catalog.questions.why_empty.labels, wanted)                 # doctest: +SKIP
        """
        with self._reading() as connection:
            return reason(connection, *asked, **more)

    def models(self) -> Table:
        """See `catalog.questions.queries.models`."""
        from catalog.questions import queries

        with self._reading() as connection:
            return self._shown(queries.models(connection))

    def runs(self) -> Table:
        """See `catalog.questions.queries.runs`."""
        from catalog.questions import queries

        with self._reading() as connection:
            return self._shown(queries.runs(connection))

    def run(self, run: int) -> dict[str, Any]:
        """Everything recorded of one run."""
        from catalog.questions import queries

        with self._reading() as connection:
            return queries.run_details(connection, run)

    def delete_run(self, run: int) -> None:
        """Delete a run with all its rows, see `catalog.runs.deletion.delete_run`."""
        from catalog.runs import deletion

        deletion.delete_run(self.engine, run)

    def cancel_run(self, run: int) -> None:
        """End a queued or running run, see `catalog.runs.life.cancel_run`."""
        from catalog.runs import life

        life.cancel_run(self.engine, run)

    def run_progress(self, run: int) -> "RunProgress":
        """How far a run is, see `catalog.runs.jobs.run_progress`."""
        from catalog.runs import jobs

        with self._reading() as connection:
            return jobs.run_progress(connection, run)

    def list_rules(self, all_versions: bool = False) -> Table:
        """See `catalog.labels.thresholds.list_rules`."""
        from catalog.labels import thresholds

        with self._reading() as connection:
            return self._shown(thresholds.list_rules(connection, all_versions))

    def drafted_rules(self) -> Table:
        """See `catalog.labels.thresholds.drafted_rules`."""
        from catalog.labels import thresholds

        with self._reading() as connection:
            return self._shown(thresholds.drafted_rules(connection))

    def set_rule(self, rule: str, value: float) -> int:
        """Change a threshold in the draft, see `catalog.labels.thresholds.set_rule`; returns the draft's version."""
        from catalog.labels import thresholds

        with self.engine.begin() as connection:
            return thresholds.set_rule(connection, rule, value)

    def relabel(self) -> dict[int, dict[str, int]]:
        """Apply the newest rules to every published run, see `catalog.publishing.relabel`; counts by run and family."""
        from catalog.publishing.relabel import relabel  # loads numpy, which questions do without

        return relabel(self.engine)
