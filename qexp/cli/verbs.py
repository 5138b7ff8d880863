"""The verbs of the command line: one table, their parsers, and the arguments that several share."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import NoReturn

from qexp.errors import ConfigError
from qexp.text import typed_path

PROGRAM = "python -m qexp"

VERBS = {
    "resume": "continue runs that stopped before their end, from any point",
    "status": "ask the service how far runs are; change nothing",
    "cancel": "cancel what is queued, close the batch, keep what has run",
    "ls": "list the runs in a folder, partial and damaged ones included",
    "usage": "total the QPU time predicted and charged, by account, instance, backend and month",
    "show": "show one run or sweep: config, place, times, jobs, usage, calibration, software",
    "verify": "check every digest; name exactly what is damaged",
    "diff": "compare two runs or the pairs of a sweep: do their data differ statistically?",
    "analyse": "evaluate a run; the results are stored beside its archive",
    "remitigate": "evaluate the shots of mitigated Estimators again, with other settings",
    "report": "write one self-contained HTML page",
    "export": "write RO-Crate, NetCDF, CSV, Parquet or Qiskit's own results",
    "reproduce": "run it again from the archive alone, and compare",
    "doctor": "say whether this machine is fit, and with --live whether IBM's service is",
    "completion": "print the script that completes commands on Tab in bash, zsh or fish",
}
"""Each is a module of this package with `configure(parser)` and `run(given) -> exit code`."""


class VerbParser(argparse.ArgumentParser):
    """A parser that raises one line for a mistake, instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{message}; '{self.prog} --help' explains")


def verb_parser(name: str) -> VerbParser:
    """Return the parser of a verb's arguments."""
    parser = VerbParser(
        prog=f"{PROGRAM} {name}",
        description=f"{VERBS[name][:1].upper()}{VERBS[name][1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    import_module(f"qexp.cli.{name}").configure(parser)
    return parser


def add_run(
    parser: argparse.ArgumentParser,
    what: str = "folder of a run, its run.h5, or folder of a sweep",
) -> None:
    """Add `run`, the path of a run or a sweep."""
    parser.add_argument("run", metavar="RUN|SWEEP", type=typed_path, help=what)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`; a verb that has it prints with `qexp.cli.output.print_json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--trust`, a list of dotted prefixes, empty by default."""
    parser.add_argument(
        "--trust",
        metavar="PREFIX",
        action="append",
        default=[],
        help="allow a recorded config to name functions and classes of this module or package, "
        "besides qexp's own; may be repeated",
    )


def add_alpha(parser: argparse.ArgumentParser) -> None:
    """Add `--alpha`, the level of the verdict on data, a number between 0 and 1."""
    from qexp.compare.model import ALPHA

    parser.add_argument(
        "--alpha",
        type=_level,
        default=ALPHA,
        help="largest probability of calling equal data different (default: %(default)s)",
    )


def whole_number(text: str) -> int:
    """Read a number of things on a command line."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text}; it must be a whole number, 0 or more")
    return int(text)


def _level(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"got {text}; it must be between 0 and 1, as 0.01 is")
    return value
