"""The tables of README.md and docs/ that follow from the parts and their measures: `make docs`, or `python -m bench.tables`.

Each stands between two markers, `<!-- made by make docs: NAME -->` and `<!-- end -->`; `--print` prints all and writes nothing.
"""

import argparse
import re
from collections.abc import Iterable
from inspect import getdoc
from pathlib import Path

from transformers import AutoConfig

from bench import ROOT
from catalog import parts
from catalog.parts.part import Part
from catalog.schema.base import metadata
from catalog.views import overview
from cli.markdown import table
from ingest.checkpoints.architectures import ARCHITECTURES, Architecture
from ingest.checkpoints.undefined import Configured
from ingest.features.of_corpus import DIVISIONS
from ingest.parts import LAYER_MEASURES, MODEL_MEASURES
from ingest.parts.shapes import CorpusShape, LayerShape
from ingest.parts.undefined import undefined_of

PAGES = {
    "README.md": ("parts",),
    "docs/architectures.md": ("architectures", "undefined"),
    "docs/roles.md": ("roles", "families"),
    "docs/accumulators.md": ("accumulators", "measures"),
}
"""The tables of each page, by name."""
MODEL = LayerShape(12 * 3072, 50_257, CorpusShape(n_rows=1953, context=512, n_topics=100, n_divisions=DIVISIONS))
"""GPT-2 small, and a million tokens in rows of 512."""


def of_parts() -> str:
    """What each part knows of neurons, its tables and its views; the last row has what is no part's."""
    rows: list[tuple[str, ...]] = [
        (f"`{part.name}`", part.reads, part.about, _names(rows.name for rows in part.rows), _names(v.name for v in part.views))
        for part in parts.PARTS
    ]
    shared = sorted(set(metadata.tables) - set(parts.tables()))
    overviews = _names(view.name for view in overview.OVERVIEW)
    rows.append(("all", "", "what was read, runs, labels, sums", _names(shared), overviews))
    return _table(("part", "needs", "of a neuron", "tables", "views"), rows)


def of_roles() -> str:
    """The parts of the group `roles`."""
    rows = [(f"`{part.name}`", part.reads, part.about, _names(rows.name for rows in part.rows)) for part in _roles()]
    return _table(("part", "needs", "of a neuron", "tables"), rows)


def of_families() -> str:
    """The families that say what neurons do, with the thresholds as they are at first."""
    rows = [
        (f"`{rule.family}`", rule.about, "<br>".join(f"`{t.parameter}` {t.value:g}: {t.about}" for t in rule.thresholds))
        for part in [parts.part_named("weights"), *_roles()]
        for rule in part.rules
    ]
    return _table(("family", "what they are", "thresholds"), rows)


def of_accumulators() -> str:
    """What is summed while tokens come in, and in how many bytes."""
    rows = [
        (f"`{measure.part}`", _first_line(measure), size.n_bytes / MODEL.n_neurons, size.n_bytes / 1e9, size.shared_bytes / 1e9)
        for measure in LAYER_MEASURES.values()
        for size in [measure.size(MODEL)]
    ]
    heads = ("part", "what is kept of consecutive layers", "bytes per neuron", "GB of all neurons", "GB once, at the finish")
    return _table(heads, rows)


def of_measures() -> str:
    """What is found of one model at a time."""
    rows = [
        (f"`{measure.part}`" if measure.part else "several", measure.title, _first_line(measure), _names(measure.needs))
        for measure in MODEL_MEASURES.values()
    ]
    return _table(("part", "phase", "what is found", "stands on"), rows)


def of_architectures() -> str:
    """What can be ingested, and how it is put together."""
    rows = [(f"`{name}`", *_described(architecture)) for name, architecture in ARCHITECTURES.items()]
    heads = ("`model_type`", "MLP", "norms", "they stand", "attention and MLP", "positions", "queries and keys")
    return _table(heads, rows)


def _described(architecture: Architecture) -> tuple[str, ...]:
    one_norm = architecture.attention_norm is not None and architecture.attention_norm == architecture.mlp_norm
    stands = "after" if architecture.attention_norm is None else "before and after" if architecture.written_norms else "before"
    return (
        "plain" if architecture.gate is None else "gated",
        {"layer": "LayerNorm", "rms": "RMSNorm", "rms with 1 + gain": "RMSNorm, gain 1 + γ"}[architecture.norm],
        stands,
        "parallel" if one_norm else "as configured" if "parallel_residual" in architecture.reads else "one after the other",
        "embedded" if architecture.rotary is None else "rotary",
        "as they are" if architecture.query_norm is None else "normalised",
    )


def of_undefined() -> str:
    """What parts have not of models as transformers configures them, in rows as long as these take."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for name in ARCHITECTURES:
        config = AutoConfig.for_model(name)
        for undefined in undefined_of(parts.names(), [Configured(config)], config.max_position_embeddings):
            architectures, left_out = found.setdefault(undefined.reason, ([], []))
            architectures.append(name)
            left_out += undefined.left_out
    rows = [(why, _names(dict.fromkeys(of)), _names(dict.fromkeys(left_out))) for why, (of, left_out) in found.items()]
    return _table(("because", "architectures", "tables without rows of the model, columns that are NULL"), rows)


TABLES = {
    "parts": of_parts,
    "architectures": of_architectures,
    "undefined": of_undefined,
    "roles": of_roles,
    "families": of_families,
    "accumulators": of_accumulators,
    "measures": of_measures,
}
"""By the names of their markers."""


def written(page: str) -> str:
    """A page with its tables made anew.

    Args:
        page: its path in the checkout.
    Raises:
        ValueError: the page lacks the markers of a table.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in PAGES[page]:
        between = re.compile(rf"(<!-- made by make docs: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not between.search(text):
            raise ValueError(f"{page} has no place for the table {name!r}: <!-- made by make docs: {name} --> … <!-- end -->")
        text = between.sub(lambda match, name=name: f"{match[1]}{TABLES[name]()}{match[2]}", text)  # type: ignore[misc]
    return text


def _roles() -> list[Part]:
    return [parts.part_named(name) for name in parts.groups()["roles"]]


def _first_line(measure: object) -> str:
    return (getdoc(type(measure)) or "").partition("\n")[0].rstrip(".")


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str | float, ...]]) -> str:
    """As Markdown; what parts say of themselves may hold bars."""
    return table(
        [
            dict(zip(heads, (cell.replace("|", "\\|") if isinstance(cell, str) else cell for cell in row), strict=True))
            for row in rows
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tables", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--print", action="store_true", help="print the tables and write nothing")
    if parser.parse_args().print:
        for name, made in TABLES.items():
            print(f"{name}\n\n{made()}")
        return
    for page in PAGES:
        Path(ROOT / page).write_text(written(page), encoding="utf-8")
        print(f"{page}: {', '.join(PAGES[page])}")


if __name__ == "__main__":
    main()
