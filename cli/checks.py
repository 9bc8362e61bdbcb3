"""What `catalog doctor` looks at; each check says what it found and, where it fails, the command that mends it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Literal, NamedTuple

from cli.failures import one_line, sentence, without_passwords

if TYPE_CHECKING:
    from sqlalchemy import Engine

PACKAGE = "neuron-catalog"
LEAST_PYTHON = (3, 11)
LEAST_FREE_GIB = 2.0
DEVICE_SECONDS = 120

_DEVICE_PROGRAM = """
import torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(f"torch {torch.__version__}:", ", ".join(f"cuda:{i} {name}" for i, name in enumerate(names)) or "cpu")
"""


class Finding(NamedTuple):
    """One line of the doctor's answer."""

    check: str
    status: Literal["ok", "fail"]
    found: str
    mend: str = ""


def examine() -> list[Finding]:
    """All findings, in the order in which one thing needs the other."""
    return [*_installation(), _home(), *_database(), _device()]


def _installation() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < LEAST_PYTHON:
        yield Finding("python", "fail", version, "make a virtual environment with Python 3.11 or newer")
    else:
        yield Finding("python", "ok", version)
    wrong = list(_wrong_packages())
    if wrong:
        yield Finding("packages", "fail", ", ".join(wrong), "pip install -r requirements.lock")
    else:
        yield Finding("packages", "ok", f"{PACKAGE} {metadata.version(PACKAGE)} and all that it needs")


def _wrong_packages() -> Iterator[str]:
    from packaging.requirements import Requirement

    for line in metadata.requires(PACKAGE) or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield f"{requirement.name} is {installed}, not {requirement.specifier}"


def _home() -> Finding:
    from catalog.errors import InputError
    from catalog.settings import home

    try:
        folder = home()
    except InputError as error:
        return _failure("disk", error)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    space = f"{free:.1f} GiB free in {folder}"
    if free < LEAST_FREE_GIB:
        return Finding("disk", "fail", space, f"make room for {LEAST_FREE_GIB:g} GiB, or move it with CATALOG_HOME")
    return Finding("disk", "ok", space)


def _database() -> Iterator[Finding]:
    from catalog.server.engine import reader_engine, writer_engine

    try:
        engine = writer_engine()
    except Exception as error:
        yield _failure("database", error)
        return
    try:
        yield from _server(engine)
        yield _schema(engine)
    finally:
        engine.dispose()
    reader = reader_engine()
    try:
        yield _reader(reader)
    finally:
        reader.dispose()


def _server(engine: "Engine") -> Iterator[Finding]:
    from sqlalchemy import text

    from catalog import settings
    from catalog.server.engine import address

    kind = "CATALOG_DATABASE_URL" if settings.database_url() else "embedded"
    yield Finding("database", "ok", f"{kind}: {address(engine.url)}")
    with engine.connect() as connection:
        server = connection.execute(text("SHOW server_version")).scalar_one()
        vector = connection.execute(text("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"))
        yield Finding("server", "ok", f"PostgreSQL {server}")
        yield Finding("pgvector", "ok", str(vector.scalar_one()))


def _schema(engine: "Engine") -> Finding:
    from catalog.server import migrate
    from catalog.server.engine import check_schema, check_views

    try:
        check_schema(engine)
        check_views(engine)
    except Exception as error:
        return _failure("schema", error)
    return Finding("schema", "ok", f"version {migrate.current(engine)}")


def _reader(engine: "Engine") -> Finding:
    from sqlalchemy import text

    from catalog import settings

    try:
        with engine.connect() as connection:
            role = connection.execute(text("SELECT current_user")).scalar_one()
    except Exception as error:
        reason = without_passwords(one_line(str(getattr(error, "orig", error))))
        password = "set CATALOG_READER_PASSWORD and " if settings.database_url() else ""
        return Finding("reader role", "fail", reason, f"{password}run `catalog db upgrade`")
    return Finding("reader role", "ok", f"{role} logs in")


def _failure(check: str, error: Exception) -> Finding:
    """The finding that an error's sentence holds: what is wrong, and after the last semicolon what mends it."""
    told = sentence(error)
    text = told.text.removeprefix("error: ").rstrip(".") if told else f"{type(error).__name__}: {one_line(str(error))}"
    what, _, mend = text.rpartition("; ")
    return Finding(check, "fail", what or text, mend if what else "catalog --verbose db check")


def _device() -> Finding:
    """In a process of its own: torch takes seconds to import, and a broken driver may take the process down."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _DEVICE_PROGRAM], capture_output=True, text=True, timeout=DEVICE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("device", "fail", f"torch did not answer in {DEVICE_SECONDS} s", "ingest with --device cpu")
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["torch broke down"])[-1]
        return Finding("device", "fail", last, "pip install -r requirements.lock")
    return Finding("device", "ok", one_line(answer.stdout))
