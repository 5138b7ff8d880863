"""The command line as a user types it. Nothing else in this folder spells a command."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 300


def spelt(verb: str) -> list[str]:
    """Return the words after `python -m` for a verb; `run` is the main job."""
    return ["qexp"] if verb == "run" else ["qexp", verb]


@dataclass(frozen=True)
class Ended:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def apart(
    verb: str, *arguments: object, folder: Path, env: Mapping[str, str] | None = None
) -> Ended:
    """Run a command in a process of its own.

    Args:
        verb: As for `spelt`.
        *arguments: Arguments of the command.
        folder: Its current folder, home folder and cache.
        env: Environment variables to add to one without an IBM account.
    """
    module, *first = spelt(verb)
    done = subprocess.run(
        [sys.executable, "-m", module, *first, *map(str, arguments)],
        cwd=folder,
        env={**_environment(folder), "OMP_NUM_THREADS": "1", **(env or {})},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def here(verb: str, *arguments: object, folder: Path) -> Ended:
    """Run a command in this process, which saves a second of imports.

    Args:
        verb: As for `spelt`.
        *arguments: Arguments of the command.
        folder: As for `apart`.
    """
    module, *first = spelt(verb)
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with _undone(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = [module, *first, *map(str, arguments)]
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int)
    return Ended(code, out.getvalue(), err.getvalue())


def _environment(folder: Path) -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("QISKIT_", "HYDRA_", "IAM_"))},
        "HOME": str(folder),
        # Of the index of runs.
        "XDG_CACHE_HOME": str(folder / ".cache"),
    }


@contextlib.contextmanager
def _undone(folder: Path) -> Iterator[None]:
    """Restore, at the end, the process state that a command line changes."""
    before = (Path.cwd(), dict(os.environ), list(sys.argv), list(sys.path))
    root, ours = logging.getLogger(), logging.getLogger("qexp")
    handlers, levels, raises = root.handlers[:], (root.level, ours.level), logging.raiseExceptions
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    environment = _environment(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    try:
        # pytest turns warnings into errors; a user's process does not.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.captureWarnings(False)
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)
            handler.close()
        root.handlers, logging.raiseExceptions = handlers, raises
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        for number, handler in signals.items():
            signal.signal(number, handler)
        os.chdir(before[0])
        os.environ.clear()
        os.environ.update(before[1])
        sys.argv, sys.path[:] = before[2], before[3]
