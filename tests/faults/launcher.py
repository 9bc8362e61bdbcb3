"""Commands of `catalog`, and other programs, as processes of their own, forked from one that has loaded the libraries once.

Each is a process with its own memory, signals and connections, as if it were started from a shell; only the seconds that
the libraries take to load are saved. The mother never computes, so that no thread is lost in the fork.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Launcher:
    """The mother of the processes; to be closed, which leaves her children alone."""

    def __init__(self, **more: str) -> None:
        """A warning while anything is loaded, or later by a process, is an error.

        Args:
            more: set in the environment before anything is loaded.
        """
        always = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
        environment = {**os.environ, **always, **more}
        self._mother = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.launcher"], cwd=ROOT, env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(
        self, arguments: list[str], environment: Mapping[str, str], log: Path, file_limit: int = 0, out: Path | None = None
    ) -> "Process":
        """`catalog ARGUMENTS`, one thread, its stderr in `log`, its stdout in `out` or nowhere.

        No file may grow beyond `file_limit` bytes, 0: any.
        """
        return self.call("cli.main:main", arguments, environment, log, file_limit, out)

    def call(
        self,
        function: str,
        arguments: list[str],
        environment: Mapping[str, str],
        log: Path,
        file_limit: int = 0,
        out: Path | None = None,
    ) -> "Process":
        """The same for a function, MODULE:NAME, that reads its words from the command line."""
        log.touch()
        order = {"call": function, "words": arguments, "environment": dict(environment), "log": str(log)}
        order |= {"file_limit": file_limit, "out": os.devnull if out is None else str(out)}
        return Process(self, self.ask(order), log)

    def ask(self, order: dict[str, Any]) -> int:
        """One order to the mother, and her answer."""
        assert self._mother.stdin is not None and self._mother.stdout is not None
        self._mother.stdin.write(json.dumps(order) + "\n")
        return int(json.loads(self._mother.stdout.readline()))

    def close(self) -> None:
        """End the mother."""
        assert self._mother.stdin is not None and self._mother.stdout is not None
        self._mother.stdin.close()
        self._mother.wait()
        self._mother.stdout.close()


HEAVY = (
    "cli.main", "ingest.pipeline.from_files", "ingest.workers.worker", "ingest.checkpoints.processing",
    "ingest.corpus.syntax.annotate", "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto", "transformers.models.gpt2.modeling_gpt2", "datasets", "pandas",
    "alembic.command", "catalog.server.migrate", "numba",
)  # fmt: skip
"""What an ingest loads sooner or later, which takes longer than the small ingests themselves."""

REMEMBERED_WEIGHTS = "CATALOG_TEST_WEIGHTS"
"""In the environment of a launcher: the folder in which its processes keep weights that they have folded and proved."""

RUNNING = -1000


@dataclass
class Process:
    """One command."""

    launcher: Launcher
    pid: int
    log: Path
    _code: int = RUNNING

    @property
    def said(self) -> str:
        """Its stderr so far."""
        return self.log.read_text(errors="replace")

    def poll(self) -> int | None:
        """Exit code (negative: the signal that killed it); None while it runs."""
        if self._code == RUNNING:
            self._code = self.launcher.ask({"code": self.pid})
        return None if self._code == RUNNING else self._code

    def wait(self, seconds: float = 180.0) -> int:
        """The exit code.

        Raises:
            TimeoutError: it still runs; it is killed.
        """
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                raise TimeoutError(f"still running after {seconds:.0f} s: {self.said[-2000:]}")
            time.sleep(0.02)
        return code

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _mother() -> None:
    """Load everything, then fork a child for each order."""
    for name in HEAVY:
        import_module(name)
    if folder := os.environ.get(REMEMBERED_WEIGHTS):
        from ingest.checkpoints import checkpoint
        from tests.remembered_weights import remembered

        checkpoint.processed_weights = remembered(checkpoint.processed_weights, Path(folder))
    # a shell lets its background jobs ignore it, which every process would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for line in sys.stdin:
        order = json.loads(line)
        if "code" in order:
            pid, status = os.waitpid(order["code"], os.WNOHANG)
            answer = RUNNING if pid == 0 else os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                _become(order)
                os._exit(_done(order["call"], order["words"]))
        print(answer, flush=True)


def _done(function: str, words: list[str]) -> int:
    """Exit code of a function, as an interpreter would have it."""
    module, name = function.split(":")
    sys.argv = [name, *words]
    code = 0
    try:
        getattr(import_module(module), name)()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _become(order: dict[str, Any]) -> None:
    os.environ.update(order["environment"])
    nowhere = os.open(os.devnull, os.O_RDWR)
    out, log = (os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644) for name in ("out", "log"))
    for source, target in ((nowhere, 0), (out, 1), (log, 2)):
        os.dup2(source, target)
    if order["file_limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_limit"], order["file_limit"]))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


if __name__ == "__main__":
    _mother()
