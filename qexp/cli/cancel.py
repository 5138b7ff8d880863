"""`python -m qexp cancel RUN_DIR`: cancel what is queued, close the batch, keep what has run."""

from __future__ import annotations

import argparse
from contextlib import suppress
from functools import partial
from pathlib import Path

from qexp.cli.named_runs import ANEW, Outcome, Runs, add_runs, is_finished
from qexp.errors import ArchiveError

_EPILOG = f"""
Every job that waits in a queue is cancelled, and every batch is closed. What has finished is
collected and kept. A job that is running keeps running: the exit code is then 6, and
'resume RUN_DIR --collect-only' collects it later. Nothing of a cancelled run is submitted again
unless you name it: 'resume RUN_DIR'.
{ANEW}
examples:
  python -m qexp cancel outputs/random_sampling/20261122T094439Z-d16302
  python -m qexp cancel --all outputs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    add_runs(parser, "every run with jobs that may be out")


def run(given: argparse.Namespace) -> int:
    """Cancel the runs that the command line names; return the highest of their exit codes.

    The JSON form of a run is that of `resume`.
    """
    runs = Runs("cancel", given, {"status": None, "archive": None})
    return runs.for_each(partial(_cancel, runs), _reason_to_leave)


def _cancel(runs: Runs, path: Path) -> Outcome:
    def cancel_it(folder: Path) -> Outcome:
        from qexp.config.runs import recorded_specs

        specs = recorded_specs(folder, runs.given.trust, runs.anew, plans=False)

        from qexp.experiment import cancel
        from qexp.progress import Terminal

        with Terminal(specs, folder, is_quiet=runs.given.json) as terminal:
            report = cancel(specs, folder, terminal)
        if report.status is not None:
            archive = None if report.archive is None else str(report.archive)
            return runs.outcome(path, status=report.status, archive=archive)
        return runs.outcome(
            path, message=runs.say(f"{path}: {_why_nothing_is_out(specs[0].engine.name)}")
        )

    return runs.work_on(path, "the run was not cancelled", "cancel", cancel_it)


def _why_nothing_is_out(engine: str) -> str:
    if engine == "ibm":
        return "nothing was submitted, so that there is nothing to cancel"
    return (
        f"the jobs of engine '{engine}' end with the process that runs them, so that nothing is "
        f"out and nothing to cancel"
    )


def _reason_to_leave(folder: Path) -> str | None:
    """Return an empty text for a run of which nothing can be out."""
    from qexp.journal.file import read_ledger

    if is_finished(folder):
        return ""
    # Cancelling a run meets the same error again, and reports it.
    with suppress(ArchiveError):
        ledger = read_ledger(folder)
        return None if ledger.open_attempts() or ledger.unclosed_batches else ""
    return None
