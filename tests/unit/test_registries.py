"""Parts, their tables and families are listed by `catalog.parts` and `ingest.parts`, and nowhere else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog import parts
from catalog.schema.base import metadata
from tests.database.helpers import ROOT

PACKAGES = ("catalog", "ingest", "cli")
REGISTRIES = ("catalog/parts", "ingest/parts", "catalog/schema")
"""Parts, and the tables that are no part's, are declared there."""
MOST = 2


def known() -> set[str]:
    """Names of parts, of tables and of families."""
    return {*parts.names(), *(rule.family for rule in parts.rules()), *parts.tables(), *metadata.tables}


def lists(tree: ast.AST, names: set[str]) -> Iterator[tuple[int, list[str]]]:
    """Lines of literal collections that hold more than two of the names."""
    for node in ast.walk(tree):
        items: list[ast.expr] = []
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            items = node.elts
        elif isinstance(node, ast.Dict):
            items = [key for key in node.keys if key is not None]
        found = [item.value for item in items if isinstance(item, ast.Constant) and item.value in names]
        if len(found) > MOST:
            yield items[0].lineno, found


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_else_lists_parts_tables_or_families(package: str) -> None:
    names = known()
    files = [path for path in (ROOT / package).rglob("*.py") if str(path.parent.relative_to(ROOT)) not in REGISTRIES]
    assert files
    found = {
        f"{path.relative_to(ROOT)}:{line}": listed
        for path in files
        for line, listed in lists(ast.parse(path.read_text(encoding="utf-8")), names)
    }
    assert found == {}


@pytest.mark.parametrize(
    "text", ["x = ('weights', 'ngrams', 'topics')", "{'pairs': 1, 'labels': 2, 'dead': 3}", "f(['runs', 'bos', 'neurons', 4])"]
)
def test_a_list_is_seen(text: str) -> None:
    assert [len(listed) for _, listed in lists(ast.parse(text), known())] == [3]


def test_every_part_is_a_file_in_both_packages() -> None:
    for name in parts.OWN:
        assert all(Path(ROOT, package, "parts", f"{name}.py").exists() for package in ("catalog", "ingest")), name
