"""`python -m qexp resume RUN_DIR`: go on with a run, from nothing but what is in its folder."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.errors import ArchiveError, ConfigError

if TYPE_CHECKING:
    from qexp.core.spec import RunSpec

_log = logging.getLogger("qexp")

_EPILOG = """
A run that is complete is left as it is. Jobs that are out are found again and collected; only what
is missing, failed or was cancelled is submitted, in a new batch that follows the first.

examples:
  python -m qexp resume outputs/random_sampling/20261122T094439Z-d16302
  python -m qexp resume --all outputs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.add_argument("runs", metavar="RUN_DIR", nargs="*", help="folder of a run")
    parser.add_argument(
        "--all", metavar="ROOT", help="every unfinished run below this folder, one after the other"
    )
    parser.add_argument(
        "--trust",
        metavar="PREFIX",
        action="append",
        default=[],
        help="allow a recorded config to name functions and classes of this module or package, "
        "besides qexp's own; may be repeated",
    )


def run(given: argparse.Namespace) -> int:
    """Resume the runs that the command line names; returns the worst of their exit codes."""
    if not given.runs and given.all is None:
        raise ConfigError(
            "name the folder of a run, or --all and a folder with runs in it; "
            "'python -m qexp resume --help' explains"
        )
    # Until jobs are out, which `qexp.interrupts` takes over.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.raiseExceptions = False
    try:
        codes = [_guarded(Path(name), given.trust) for name in given.runs]
        if given.all is not None:
            codes += _resume_below(Path(given.all), given.trust)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(str(error) or "interrupted; what was measured is kept") from None
    return max(codes, default=0)


def _guarded(path: Path, trust: Sequence[str]) -> int:
    """Resume one run; the exit code. Whatever goes wrong is one line and stops no other run."""
    from qexp.config import problems
    from qexp.config.runs import log_into, run_folder

    log = None
    try:
        folder = run_folder(path)
        log = log_into(folder)
        _resume(folder, trust)
    except (Exception, SystemExit) as error:
        if log is not None and not isinstance(error, ConfigError):
            _log.error("the run was not resumed to its end", exc_info=True)
        # An error of a file (a folder that cannot be read) is no bug; it names the file.
        told = ArchiveError(str(error)) if isinstance(error, OSError) else error
        message = problems.of_error(told, log)
        _print(message if str(path) in message else f"{path}: {message}")
        return problems.exit_code(told)
    return 0


def _resume(folder: Path, trust: Sequence[str]) -> None:
    from qexp.config.runs import finished_archive, finished_line

    archive = finished_archive(folder)
    if archive is not None:
        _say(finished_line(archive))
        return
    spec = _recorded_spec(folder, trust)

    from qexp.experiment import resume
    from qexp.progress import Terminal

    with Terminal(spec, folder) as terminal:
        resume(spec, folder, terminal)


def _recorded_spec(folder: Path, trust: Sequence[str]) -> RunSpec:
    from qexp.archive.writer import RunStore
    from qexp.config.hydra_setup import make_experiments_importable
    from qexp.config.recorded import load_recorded
    from qexp.config.runs import config_of, is_planned
    from qexp.core.model import SourceFile

    if trust:
        make_experiments_importable()
    config_yaml, has_plan = config_of(folder), is_planned(folder)
    if config_yaml is None:
        raise ConfigError(f"{folder}: {_NOTHING_RECORDED.format(folder)}")
    spec = load_recorded(config_yaml, trust, needs_circuits=not has_plan)
    if has_plan:
        # Where it was to stop then, it goes on now.
        return replace(spec, stop_after=None)
    # It is planned from the start, and recorded once more.
    header = RunStore(folder).read_header()
    return replace(
        spec,
        stop_after="plan" if spec.stop_after == "plan" else None,
        overrides=tuple(header["overrides"]),
        sources=tuple(SourceFile(**source) for source in header["sources"]),
    )


def _resume_below(root: Path, trust: Sequence[str]) -> list[int]:
    """Resume every unfinished run below a folder; the exit codes."""
    from qexp.config.runs import finished_archive

    if not root.is_dir():
        _print(f"--all: {root} does not exist; name a folder with runs in it, such as outputs")
        return [ConfigError.exit_code]
    codes = []
    found = list(_folders_below(root))
    for folder in found:
        try:
            if finished_archive(folder) is not None:
                continue
            reason = _reason_to_leave(folder)
        except (ArchiveError, ConfigError):
            # `_guarded` meets it again, and tells it as it tells all.
            reason = None
        if reason is None:
            codes.append(_guarded(folder, trust))
        else:
            _say(f"{folder}: {reason}")
    if not codes:
        _say(f"{root}: no unfinished run in it ({len(found)} runs)")
    return codes


def _folders_below(root: Path) -> Iterator[Path]:
    from qexp.journal.file import JOURNAL_NAME

    return iter(sorted(path.parent for path in root.rglob(JOURNAL_NAME)))


_NOTHING_RECORDED = (
    "stopped before its config was on disk, and nothing was submitted; run its own command line "
    "with run_dir={} added, or remove the folder"
)


def _reason_to_leave(folder: Path) -> str | None:
    """Why a run is not resumed unless its folder is named, with the command; None: resume it."""
    from qexp.config.recorded import parse
    from qexp.config.runs import config_of
    from qexp.experiment import resume_command
    from qexp.journal.file import read_ledger

    ledger = read_ledger(folder)
    command = resume_command(folder.resolve())
    if ledger.ended not in (None, "complete", "planned"):
        return f"ended {ledger.ended}; to try again what failed: {command}"
    if ledger.batches or ledger.ended == "complete":
        return None
    config_yaml = config_of(folder)
    if config_yaml is None:
        return _NOTHING_RECORDED.format(folder)
    if ledger.ended == "planned" or parse(config_yaml).get("stop_after") == "plan":
        return f"planned, and nothing is submitted; to run it: {command}"
    return None


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _print(message: str) -> None:
    sys.stderr.write(f"qexp: {message}\n")
    sys.stderr.flush()
