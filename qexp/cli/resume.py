"""`python -m qexp resume RUN_DIR`: continue a run from what is in its folder alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from qexp.cli.output import print_error, print_json, print_line, report_error
from qexp.cli.verbs import add_json, add_trust
from qexp.errors import ArchiveError, ConfigError, ExitCode

_EPILOG = """
A run that is complete is left as it is. Jobs in flight are found again and collected; only what
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
        "--repair-journal",
        action="store_true",
        help="rebuild a damaged journal first, from what is readable and on disk; keep a copy",
    )
    add_trust(parser)
    add_json(parser)


def run(given: argparse.Namespace) -> int:
    """Resume the runs that the command line names; return the highest of their exit codes."""
    if not given.runs and given.all is None:
        raise ConfigError(
            "name the folder of a run, or --all and a folder with runs in it; "
            "'python -m qexp resume --help' explains"
        )
    outcomes: list[dict[str, Any]] = []
    try:
        outcomes.extend(_outcomes(given))
    finally:
        if given.json:
            print_json(outcomes)
    return max((outcome["exit_code"] for outcome in outcomes), default=ExitCode.DONE)


def _outcomes(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Resume one run after the other, and yield what came of each.

    Yields:
        `path`, `status` of the archive (null: there is none, or the run was left alone),
        `archive`, `exit_code`, and `message`, which is null for a run that was resumed to its end.
    """
    for name in given.runs:
        yield _resume(Path(name), given)
    if given.all is None:
        return
    root = Path(given.all)
    if not root.is_dir():
        message = f"--all: {root} does not exist; name a folder with runs in it, such as outputs"
        print_error(message)
        yield _outcome(root, exit_code=ExitCode.REFUSED, message=message)
        return
    from qexp.archive.schema import JOURNAL_NAME

    folders = sorted(path.parent for path in root.rglob(JOURNAL_NAME))
    num_resumed = 0
    for folder in folders:
        reason = _reason_to_leave(folder)
        if reason is None:
            num_resumed += 1
            yield _resume(folder, given)
        elif reason:
            yield _outcome(folder, message=_said(f"{folder}: {reason}", given))
    if not num_resumed:
        _said(f"{root}: no unfinished run in it ({len(folders)} runs)", given)


def _resume(path: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Resume one run. Whatever goes wrong is one line and stops no other run."""
    from qexp.config.cleanup import LOG_NAME
    from qexp.config.paths import run_folder
    from qexp.config.runs import recorded_spec
    from qexp.journal.repair import repair_journal
    from qexp.points import finished_archive
    from qexp.runlog import logging_into

    log = None
    try:
        folder = run_folder(path)
        log = folder / LOG_NAME
        with logging_into(log, "the run was not resumed to its end"):
            archive = finished_archive(folder)
            if archive is not None:
                message = _said(f"complete, nothing is left to do: {archive}", given)
                return _outcome(path, "complete", archive, message=message)
            if given.repair_journal and (repaired := repair_journal(folder)) is not None:
                _said(repaired, given)
            spec = recorded_spec(folder, given.trust)

            from qexp.experiment import resume
            from qexp.progress import Terminal

            with Terminal(spec, folder, is_quiet=given.json) as terminal:
                report = resume(spec, folder, terminal)
        return _outcome(path, report.status, report.archive)
    except (Exception, SystemExit) as error:
        code, message = report_error(error, log, str(path))
        return _outcome(path, exit_code=code, message=message)


def _outcome(
    path: Path,
    status: str | None = None,
    archive: Path | None = None,
    exit_code: int = ExitCode.DONE,
    message: str | None = None,
) -> dict[str, Any]:
    shown = None if archive is None else str(archive)
    named = {"path": str(path), "status": status, "archive": shown}
    return {**named, "exit_code": exit_code, "message": message}


def _said(message: str, given: argparse.Namespace) -> str:
    if not given.json:
        print_line(message)
    return message


def _reason_to_leave(folder: Path) -> str | None:
    """Say why a run is resumed only if its folder is named, with the command to do so.

    Returns:
        None for a run to resume, an empty text for one that is complete.
    """
    from qexp.config.recorded_config import parse
    from qexp.config.runs import NOTHING_RECORDED, config_of
    from qexp.journal.file import read_ledger
    from qexp.points import finished_archive, modules_to_trust, resume_command

    # Resuming a run meets the same errors again, and reports them.
    with suppress(ArchiveError, ConfigError):
        ledger = read_ledger(folder)
        if finished_archive(folder) is not None:
            return ""
        config_yaml, command = config_of(folder), resume_command(folder.resolve())
        if modules := modules_to_trust(parse(config_yaml or "{}")):
            command += f" (add --trust {' --trust '.join(modules)} if you trust that code)"
        if ledger.ended not in (None, "complete", "planned"):
            return f"ended {ledger.ended}; to try again what failed: {command}"
        if not ledger.batches and ledger.ended != "complete":
            if config_yaml is None:
                return NOTHING_RECORDED.format(folder)
            if ledger.ended == "planned" or parse(config_yaml).get("stop_after") == "plan":
                return f"planned, and nothing is submitted; to run it: {command}"
    return None
