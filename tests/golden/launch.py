"""Run a module as `python -m` does, with the host name "golden", and stop it after some jobs.

    python launch.py NUM_JOBS SIGNAL MODULE ARGUMENT...

The process sends itself SIGNAL once the outcomes of NUM_JOBS jobs are on disk; 0: never. `make.py`
uses this with the code of every schema.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
from importlib import import_module
from typing import Any


def launch(num_jobs: int, signal_name: str, module: str, *arguments: str) -> None:
    """Run `module` with `arguments`."""
    # The journal records it.
    socket.gethostname = lambda: "golden"
    if num_jobs:
        _stop_after(num_jobs, signal.Signals[signal_name])
    # The current folder, as for `python -m`, instead of the folder of this file.
    sys.path[0] = os.getcwd()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _stop_after(num_jobs: int, number: signal.Signals) -> None:
    """Send this process a signal once enough outcomes are on disk and in the journal."""
    try:
        kind, name = import_module("qexp.batch.journal").Journal, "append"
    except ModuleNotFoundError:
        # There was no journal before schema 1.1.
        kind, name = import_module("qexp.archive.store").RunStore, "write_job"
    done = getattr(kind, name)
    seen = 0

    def counted(self: Any, what: Any) -> Any:
        nonlocal seen
        returned = done(self, what)
        seen += type(what).__name__ in ("Collected", "JobOutcome")
        if seen == num_jobs and type(what).__name__ in ("Collected", "JobOutcome"):
            os.kill(os.getpid(), number)
        return returned

    setattr(kind, name, counted)


if __name__ == "__main__":
    launch(int(sys.argv[1]), *sys.argv[2:])
