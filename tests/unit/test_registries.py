"""Parts, their tables and families are listed by `catalog.parts` and `ingest.parts`, and nowhere else."""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from catalog import parts
from catalog.errors import InputError
from catalog.rows import Definition
from catalog.schema.base import metadata
from ingest.identity import BOS, OF_RUN, definitions_of, parts_by_setting
from ingest.settings import IngestSettings
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


NO_NUMBER = {
    "models", "corpus", "model_family", "max_tokens", "keep_eos", "text_column", "subset_column", "split", "corpus_revision",
    "encoding", "include", "exclude", "only", "again", "device", "memory_gb", "batch_tokens", "jobs", "enqueue", "staging",
    "checkpoint_minutes", "database_url", "controls", "control_tokens", "control",
}  # fmt: skip
"""Settings that say which models and tokens are meant, or how they are computed, which changes no number."""


def test_every_setting_makes_a_run_concerns_a_part_or_changes_no_number() -> None:
    concerned = parts_by_setting()
    kinds = [NO_NUMBER, {*OF_RUN}, {BOS}, {*concerned}]
    assert set().union(*kinds) == {field.name for field in fields(IngestSettings)}
    assert sum(map(len, kinds)) == len(fields(IngestSettings)), "each is one of these alone"
    assert all({*part.settings} <= {*concerned, *OF_RUN, BOS} for part in parts.PARTS)


def read_by(tree: ast.AST) -> set[str]:
    """Settings that a module reads by name."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).rsplit(".", 1)[-1] in ("settings", "ground", "shape")
    }


THROUGH = {"reading": "intervention_tokens", "n_rows_read": "intervention_tokens", "bit_tokens": "ngram_tokens"}
"""What a measure asks for instead of a setting."""


@pytest.mark.parametrize("name", parts.OWN)
def test_a_measure_reads_no_setting_that_its_part_does_not_declare(name: str) -> None:
    read = read_by(ast.parse((ROOT / "ingest" / "parts" / f"{name}.py").read_text(encoding="utf-8")))
    asked = {THROUGH.get(setting, setting) for setting in read} & {*parts_by_setting()}
    assert asked <= {*parts.part_named(name).settings}


def test_settings_that_a_measure_reads_are_seen() -> None:
    seen = {name: read_by(ast.parse((ROOT / "ingest" / "parts" / f"{name}.py").read_text())) for name in parts.OWN}
    assert "min_count" in seen["vocabulary"] and {"top_k", "baseline_draws"} <= seen["correlations"]
    assert "reading" in seen["entropy"] and "bit_tokens" in seen["ngrams"] and "ablation_pairs" in seen["ablations"]


def test_what_a_definition_is_made_of(tmp_path: Path) -> None:
    settings = IngestSettings(("a",), min_count=3, syntax_subsets=("b", "a"))
    found = definitions_of(("vocabulary", "syntax", "attention", "topics", "weights"), settings, 64, True)
    assert found["vocabulary"] == Definition(2, {"min_count": 3}) and found["weights"].settings == {}
    assert found["syntax"].settings == {"spacy_model": settings.spacy_model, "syntax_subsets": ["a", "b"]}
    assert found["attention"].settings == {"context": 64, "seed": 0} and found["topics"].settings == {"topics": None}
    without = definitions_of(("attention", "ablations"), settings, 64, False)
    assert without["attention"].settings == {"context": 64, "seed": 0, "bos": "never"}
    assert "bos" not in without["ablations"].settings
    file = tmp_path / "topics.csv"
    with pytest.raises(InputError, match="cannot be read"):
        definitions_of(("topics",), replace(settings, topics=str(file)), 64, True)
    file.write_text("token_id,topic\n")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert definitions_of(("topics",), replace(settings, topics=str(file)), 64, True)["topics"].settings == {"topics": sha256}
