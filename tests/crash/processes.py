"""How the command line is started: as a new interpreter, or forked from one that has imported it.

Importing Qiskit takes longer than a small run. A fork runs the same code and is as mortal.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol, Self

LAUNCHER = "tests.crash.launcher"
TIMEOUT_S = 120
ROOT = Path(__file__).parents[2]
HEAVY = (
    "h5netcdf",
    "h5py",
    "qiskit.circuit.library",
    "qiskit.circuit.random",
    "qiskit.primitives",
    "qiskit.qasm3",
    "qiskit.qpy",
    "qiskit.transpiler.preset_passmanagers",
    "qiskit_aer.noise",
    "qiskit_aer.primitives",
    "qiskit_ibm_runtime.fake_provider",
    "qiskit_ibm_runtime.options",
    "tests.crash.launcher",
)

LEFT_OUT = (
    "qexp.__main__",  # it is run under this name, which it must not have been imported for
    "qexp.sweeps.point_arrays",  # xarray imports pyarrow where it is installed: a thread
)


@dataclass(frozen=True)
class Ended:
    """A command that has ended; `code` is negative for a signal."""

    code: int
    out: str
    err: str

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Processes(Protocol):
    """Starts the launcher and waits for its end."""

    def run(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Ended: ...

    def close(self) -> None: ...


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without any account, with one thread per library."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QISKIT_", "HYDRA_", "IAM_"))
    }
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    return {**clean, **threads, "PYTHONPATH": str(ROOT), "HOME": str(home), **more}


class Subprocesses:
    """Every command is a new interpreter."""

    def run(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", LAUNCHER, *arguments],
            cwd=cwd,
            env=dict(env),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        """Nothing is kept."""


class Forks:
    """Every command is a fork of one process that has imported everything and run nothing.

    Args:
        folder: Where its files may be.
    """

    def __init__(self, folder: Path) -> None:
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=folder,
            env=environment(home, {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Ended:
        out, err = self._folder / "out.txt", self._folder / "err.txt"
        request = {
            "arguments": list(arguments),
            "cwd": str(cwd),
            "env": dict(env),
            "out": str(out),
            "err": str(err),
        }
        with self._lock:
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            reply = self._server.stdout.readline()
            if not reply:
                raise RuntimeError(f"the process that forks has ended: {self._server.wait()}")
            return Ended(int(reply), *(path.read_text(errors="replace") for path in (out, err)))

    def close(self) -> None:
        """End the process that forks."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve() -> None:
    """Fork once for each line on standard input; answer with the exit code."""
    _import_all()
    if threading.active_count() > 1 or _num_threads() > 1:
        raise RuntimeError("an import has started a thread, which a fork would not have")
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _num_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def _import_all() -> None:
    import qexp

    for name in HEAVY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(qexp.__path__, "qexp."):
        if module.name not in LEFT_OUT:
            importlib.import_module(module.name)


def _become(request: Mapping[str, Any]) -> NoReturn:
    code = 1
    # Ends a child that hangs; no handler, so that nothing of it can catch this.
    signal.alarm(TIMEOUT_S)
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for target, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), target)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        from tests.crash.launcher import launch

        launch(*request["arguments"])
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
