"""Run a module as `python -m` does, and end this process with SIGKILL at a declared step.

By hand:

    python -m tests.crash.launcher 'write journal.jsonl Submitted@1:torn' RUN_DIR TRACE \
        qexp experiment=random_sampling hydra.run.dir=RUN_DIR
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path

from tests.crash.steps import Kill, Steps, install

NOWHERE = "-"
PAUSES = "CRASH_PAUSES"
"""Environment variable: by which factor the pauses of IBM's client between two tries change."""


def launch(kill: str, run_dir: str, trace: str, module: str, *arguments: str) -> None:
    """Run `module` with `arguments`.

    Args:
        kill: As `Kill.parse` reads it, or `NOWHERE`.
        run_dir: Folder of the run.
        trace: File that gets a line for each step.
        module: What `python -m` is given.
        arguments: And its arguments.
    """
    # Who is started in the background by a shell has SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if PAUSES in os.environ:
        _change_pauses(float(os.environ[PAUSES]))
    install(Steps(Path(run_dir), Path(trace), None if kill == NOWHERE else Kill.parse(kill)))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _change_pauses(factor: float) -> None:
    from urllib3.util.retry import Retry

    backoff_time = Retry.get_backoff_time

    def changed(retry: Retry) -> float:
        return factor * backoff_time(retry)

    Retry.get_backoff_time = changed  # type: ignore[method-assign]


if __name__ == "__main__":
    launch(*sys.argv[1:])
