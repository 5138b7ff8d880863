"""The command line: one verb, or the experiment that the overrides declare.

Every error ends here, as one line on stderr and an exit code of `qexp.errors.ExitCode`.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from qexp.cli.output import print_error, print_line, report_error
from qexp.cli.verbs import PROGRAM, VERBS, verb_parser
from qexp.errors import ExitCode
from qexp.interrupts import StopSignals
from qexp.runlog import keep_standard_streams

_USAGE = f"""\
qexp runs a declared quantum experiment in one batch and leaves one HDF5 archive.

usage:
  {PROGRAM} experiment=NAME [key=value ...]      run an experiment
  {PROGRAM} -m experiment=NAME key=a,b [...]     run every combination of values
  {PROGRAM} VERB ...                             work with runs; VERB --help explains
"""

_EXAMPLES = f"""\
examples:
  {PROGRAM} experiment=random_sampling circuits.num_circuits=200 circuits.depth=8 seed=7
  {PROGRAM} experiment=random_sampling stop_after=plan
  {PROGRAM} experiment=random_sampling backend=least_busy batch.max_time=25m
  {PROGRAM} -m experiment=random_sampling circuits.depth=2,4,8
  {PROGRAM} resume outputs/random_sampling/RUN_ID

conf/experiment/mine.yaml in the current folder is experiment=mine. 'experiment=NAME --cfg job'
prints the composed config. 'qexp' is the same program; '--hydra-help' lists Hydra's own flags.
"""

_INTERRUPTED = "interrupted; what was measured is kept"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line, that of this process if None, and exit with its exit code."""
    keep_standard_streams()
    # A log that cannot be written (a full disk) is no reason for a traceback on the terminal.
    logging.raiseExceptions = False
    # Imports and circuits make many objects and hardly a cycle: fewer searches save a tenth.
    gc.set_threshold(50_000, 20, 50)
    with StopSignals() as signals:
        code = _run(sys.argv[1:] if arguments is None else arguments)
    if signals.is_set() and code == ExitCode.DONE:
        # Python has dropped the exception, or the command was all but done.
        print_error(_INTERRUPTED)
        code = ExitCode.INTERRUPTED
    sys.exit(code)


def _run(arguments: Sequence[str]) -> int:
    """Run one command line; print whatever ends it."""
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        print_error(str(error) or _INTERRUPTED)
        return ExitCode.INTERRUPTED
    except BaseException as error:  # A panic in Qiskit's Rust code is no `Exception`.
        # Rich leaves the process when nobody reads its output any more.
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if not isinstance(cause, BrokenPipeError):
            return report_error(error)[0]
        # The reader (`head`, `less`) has seen enough; Python's own last flush must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    return code


def _dispatch(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in VERBS:
        return _run_verb(arguments[0], arguments[1:])
    if "-h" in arguments or "--help" in arguments:
        sys.stdout.write(_overview())
        return ExitCode.DONE
    if "--version" in arguments:
        from qexp import __version__

        print_line(f"qexp {__version__}")
        return ExitCode.DONE
    from qexp.cli.job import run

    return run(arguments)


def _run_verb(name: str, arguments: Sequence[str]) -> int:
    try:
        given = verb_parser(name).parse_args(arguments)
    except SystemExit:
        # argparse has printed the help.
        return ExitCode.DONE
    logging.captureWarnings(True)
    logging.getLogger("qexp").setLevel(logging.INFO)
    return import_module(f"qexp.cli.{name}").run(given)


def _overview() -> str:
    from qexp.config.paths import config_choices

    choices = {group: ", ".join(names) for group, names in config_choices().items()}
    return "\n".join(
        [
            _USAGE,
            "verbs:",
            *_table(VERBS),
            "",
            "choices (group=choice, those in conf/ of the current folder included):",
            *_table({"experiment": choices.pop("experiment", ""), **choices}),
            "",
            _EXAMPLES,
        ]
    )


def _table(rows: dict[str, str]) -> list[str]:
    width = max(map(len, rows)) + 2
    return [
        line
        for name, text in rows.items()
        for line in textwrap.wrap(
            text, 100, initial_indent=f"  {name:<{width}}", subsequent_indent=" " * (width + 2)
        )
    ]
