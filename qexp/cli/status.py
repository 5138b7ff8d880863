"""`python -m qexp status RUN_DIR`: ask the service how far a run is, and change nothing."""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path

from qexp.cli.named_runs import ANEW, Outcome, Runs, add_runs, is_finished

_EPILOG = f"""
Nothing is submitted, cancelled or written, and no lock is taken: it works beside a process that is
working on the run. 'show' tells what is on disk, without the service.
{ANEW}
examples:
  python -m qexp status outputs/random_sampling/20261122T094439Z-d16302
  python -m qexp status --all outputs --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    add_runs(parser, "every unfinished run")


def run(given: argparse.Namespace) -> int:
    """Print the state of each run; return the highest of their exit codes.

    The JSON form of a run is `path`, `run` (the fields of `qexp.batch.status.RunState`, or null),
    `exit_code` and `message`, which is null unless something went wrong.
    """
    # What IBM's client warns of goes nowhere, because no log is written.
    logging.getLogger().addHandler(logging.NullHandler())
    runs = Runs("status", given, {"run": None})
    return runs.for_each(partial(_tell, runs), lambda folder: "" if is_finished(folder) else None)


def _tell(runs: Runs, path: Path) -> Outcome:
    from qexp.batch.status import read_state
    from qexp.config.paths import run_folder
    from qexp.config.runs import recorded_specs

    try:
        folder = run_folder(path)
        state = read_state(recorded_specs(folder, runs.given.trust, runs.anew, plans=False), folder)
    except (Exception, SystemExit) as error:
        return runs.reported(path, error)
    for line in state.lines():
        runs.say(line)
    return runs.outcome(path, run=vars(state))
