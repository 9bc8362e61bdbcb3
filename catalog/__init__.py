"""The catalog of language-model neurons, as Python users see it; opens without torch.

    import catalog
    with catalog.connect() as store:
        store.find_labels(catalog.LabelFilter(family="alphabet"))       # a DataFrame

1. `schema` has the tables that are no part's, `parts` say what is known about neurons, a module each: tables, views, rules,
   checks, sections of a neuron's page; `views` are made of both, `migrations/` make the tables, and `server` is where they are;
2. `labels` turn statistics into families by rules, again and again without computing anything;
3. `publishing` brings a run's rows into the database, at once or not at all; `runs` are its life, its jobs and the right to it;
4. `questions` are asked, and say why there is no answer; answers are `Rows`; `verify` asks whether the rows hang together;
5. `store` puts the questions on one object, `api` opens it, for DataFrames or for rows.

Words: a part is one kind of knowledge about neurons and the unit of a run; a rule makes the labels of one family; rows are
what a part fills of a table; its definition is what its numbers follow, a version and the settings that are the part's alone.
A run has members, its models, and jobs, which a plan cuts its work into (`ingest`). A role is a
part of the group `roles`: what neurons do.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catalog.api import Catalog, connect, connect_rows
    from catalog.questions.neuron_page import NeuronPage, NeuronRef
    from catalog.questions.queries import LabelFilter
    from catalog.questions.universal import UniversalFilter

__all__ = ["Catalog", "LabelFilter", "NeuronPage", "NeuronRef", "UniversalFilter", "connect", "connect_rows"]

_HOME = {
    "Catalog": "catalog.api",
    "connect": "catalog.api",
    "connect_rows": "catalog.api",
    "LabelFilter": "catalog.questions.queries",
    "UniversalFilter": "catalog.questions.universal",
    "NeuronPage": "catalog.questions.neuron_page",
    "NeuronRef": "catalog.questions.neuron_page",
}


def __getattr__(name: str) -> Any:
    """Public names load when they are used, so that a command's help does not wait for pandas."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'catalog' has no attribute {name!r}")
