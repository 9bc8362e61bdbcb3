"""Neurons of which it is undecided whether they are universal: told wherever universal ones are counted."""

from collections.abc import Callable

from tests.commands import Answer, family_copy, run_catalog, use_published_family
from tests.published_rows import MODELS

settings = use_published_family
catalog = run_catalog
copied = family_copy


def test_undecided_neurons_are_told_and_found(catalog: Callable[..., Answer], family_copy: str) -> None:
    """The threshold is moved to the very excess of those that were universal."""
    assert "undecided" not in catalog("universal").err + catalog("find", "--universal", "yes").err
    assert catalog("rules", "set", "universal.min_excess", "0.7").code == 0 and catalog("relabel").code == 0
    answer = catalog("universal")
    assert answer.out == "" and "9 more are undecided; --state undecided prints them\n" in answer.err
    assert "no excess correlation of run 1 is surely above 0.7; the largest is 0.7 ± 0.0057" in answer.err
    answer = catalog("find", "--universal", "yes")
    assert "12 more are of undecided neurons; --universal undecided prints them\n" in answer.err
    found = catalog("universal", "--state", "undecided", "--format", "json").rows
    assert [row["universal"] for row in found] == ["undecided"] * 9
    assert len(catalog("find", "--universal", "undecided", "--format", "json").rows) == 12
    counted = [row for row in catalog("layers", "--format", "json").rows if row["model"] == MODELS[0]]
    assert [(row["n_universal"], row["n_undecided"]) for row in counted] == [(0, 1), (0, 2)]
    families = catalog("families", "--by", "model", "--format", "json").rows
    assert sum(row["undecided_neurons"] for row in families) == 12 and not sum(row["universal_neurons"] for row in families)
    page = catalog("findings", "--family", "alphabet").out
    assert "Neurons: 3, 0 of them universal and 3 undecided" in page and "0.700 ± 0.006 (undecided)" in page
    assert [row["n_undecided"] for row in catalog("report", "--format", "json").rows["layers"]] == [1, 2] * 3
