"""The companion's command line: finds the command, and says in one line what went wrong."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from qexp.errors import ArchiveError, ConfigError
from qexp.runlog import keep_standard_streams
from qexp.text import printable

PROGRAM = "python -m qexp"

COMMANDS = {
    "resume": "go on with runs that stopped before their end, from any point",
    "ls": "list the runs in a folder, partial and damaged ones included",
    "show": "what was run, where, when and how long; jobs, usage, calibration, software",
    "verify": "check every digest; name exactly what is damaged",
    "diff": "what differs between two runs, and whether their data do statistically",
    "analyse": "evaluate a run; the results land beside its archive",
    "report": "write one self-contained HTML page",
    "export": "write RO-Crate, NetCDF, CSV, Parquet or Qiskit's own results",
    "reproduce": "run it again from the archive alone, and compare",
}
"""Each is a module of this package with `configure(parser)` and `run(given) -> exit code`."""


def main(arguments: Sequence[str]) -> None:
    """Run one command; exits with its exit code."""
    keep_standard_streams()
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        sys.exit(0 if arguments else 2)
    name, *rest = arguments
    if name not in COMMANDS:
        _refuse(f"{name!r} is no command; allowed: {', '.join(COMMANDS)}")
    sys.exit(_run(name, rest))


def _run(name: str, arguments: Sequence[str]) -> int:
    module = import_module(f"qexp.cli.{name}")
    parser = CommandParser(
        prog=f"{PROGRAM} {name}",
        description=f"{COMMANDS[name][:1].upper()}{COMMANDS[name][1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.configure(parser)
    given = parser.parse_args(arguments)
    logging.captureWarnings(True)
    try:
        code: int = module.run(given)
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        say_error(str(error) or "interrupted")
        return 130
    except (Exception, SystemExit) as error:
        # Rich leaves the process where its output is not wanted any more.
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if not isinstance(cause, BrokenPipeError):
            return told(error)
        # The reader (`head`, `less`) has seen enough; nothing is to be said at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def told(error: BaseException) -> int:
    """Print whatever went wrong as one line, and return its exit code."""
    from qexp.config import problems

    # An error of a file (a folder that cannot be read) is no bug; it names the file.
    error = ArchiveError(str(error)) if isinstance(error, OSError) else error
    say_error(problems.of_error(error))
    return problems.exit_code(error)


def say_error(message: str) -> None:
    """Print one line on the standard error, without what would steer the terminal."""
    sys.stderr.write(f"qexp: {printable(message)}\n")
    sys.stderr.flush()


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND ...",
            "",
            "commands:",
            *lines,
            "",
            f"'{PROGRAM} COMMAND --help' explains a command.",
            "",
        ]
    )


def _refuse(message: str) -> NoReturn:
    say_error(f"{message}; '{PROGRAM} --help' explains")
    sys.exit(ConfigError.exit_code)


class CommandParser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit."""
        say_error(f"{message}; '{self.prog} --help' explains")
        sys.exit(ConfigError.exit_code)
