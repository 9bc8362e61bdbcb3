"""What every benchmark says of the machine that it was measured on, and the environments of commands that are compared."""

import os
import platform
from importlib import metadata
from pathlib import Path

LIBRARIES = ("torch", "numpy", "psycopg", "sqlalchemy")


def environment_of(checkout: Path, home: Path) -> dict[str, str]:
    """The environment of a command of a checkout of the code, on the embedded catalog of a home."""
    environment = {**os.environ, "CATALOG_HOME": str(home), "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"}
    environment.pop("CATALOG_DATABASE_URL", None)
    return environment


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
