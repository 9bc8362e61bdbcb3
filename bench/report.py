"""What every benchmark prints: Markdown tables, and the machine they were measured on."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "numpy", "psycopg", "sqlalchemy")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with equal keys as a Markdown table; numbers to the right."""
    if not rows:
        return "none\n"
    names = list(rows[0])
    numeric = {name: all(isinstance(row[name], int | float) for row in rows) for name in names}
    lines = [names, ["--:" if numeric[name] else ":--" for name in names]]
    lines += [[_shown(row[name]) for name in names] for row in rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def environment_of(checkout: Path, home: Path) -> dict[str, str]:
    """The environment of a command of a checkout of the code, on the embedded catalog of a home."""
    own = {**os.environ, "CATALOG_HOME": str(home), "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"}
    own.pop("CATALOG_DATABASE_URL", None)
    return own


def machine() -> dict[str, str]:
    """Processor, cores and versions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        **versions,
    }


def _shown(value: Any) -> str:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,.0f}"
        if isinstance(value, int | float)
        else str(value)
    )
