"""`python -m qexp resume RUN_DIR`: continue a run from what is in its folder alone."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qexp.cli.output import print_error, print_json, print_line, report_error
from qexp.cli.verbs import add_json, add_trust
from qexp.errors import ArchiveError, ConfigError, ExitCode

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
    add_trust(parser)
    add_json(parser)


def run(given: argparse.Namespace) -> int:
    """Resume the runs that the command line names; return the highest of their exit codes."""
    if not given.runs and given.all is None:
        raise ConfigError(
            "name the folder of a run, or --all and a folder with runs in it; "
            "'python -m qexp resume --help' explains"
        )
    resuming = _Resuming(given.trust, is_json=given.json)
    try:
        for name in given.runs:
            resuming.resume(Path(name))
        if given.all is not None:
            resuming.resume_below(Path(given.all))
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(str(error) or "interrupted; what was measured is kept") from None
    finally:
        if given.json:
            print_json(resuming.outcomes)
    return max((outcome["exit_code"] for outcome in resuming.outcomes), default=ExitCode.DONE)


class _Resuming:
    """Resumes runs one after the other, and notes what came of each.

    Attributes:
        outcomes: For each run `path`, `status` of its archive (null: there is none, or the run was
            not resumed), `archive`, `exit_code`, and a `message` on errors and runs left alone.
    """

    def __init__(self, trust: Sequence[str], *, is_json: bool) -> None:
        self._trust = trust
        self._is_json = is_json
        self.outcomes: list[dict[str, Any]] = []

    def resume(self, path: Path) -> None:
        """Resume one run. Whatever goes wrong is one line and stops no other run."""
        from qexp.config.paths import run_folder
        from qexp.config.runs import finished_archive, log_into, recorded_spec

        log = None
        try:
            folder = run_folder(path)
            log = log_into(folder)
            archive = finished_archive(folder)
            if archive is not None:
                self._say(path, f"complete, nothing is left to do: {archive}", archive)
                return
            spec = recorded_spec(folder, self._trust)

            from qexp.experiment import resume
            from qexp.progress import Terminal

            with Terminal(spec, folder, is_quiet=self._is_json) as terminal:
                report = resume(spec, folder, terminal)
            self._note(path, status=report.status, archive=report.archive)
        except (Exception, SystemExit) as error:
            if log is not None and not isinstance(error, ConfigError):
                _log.error("the run was not resumed to its end", exc_info=True)
            code, message = report_error(error, log, str(path))
            self._note(path, exit_code=code, message=message)

    def resume_below(self, root: Path) -> None:
        """Resume every run below a folder that has not ended; say why the others are left."""
        from qexp.batch.journal import JOURNAL_NAME

        if not root.is_dir():
            message = (
                f"--all: {root} does not exist; name a folder with runs in it, such as outputs"
            )
            print_error(message)
            self._note(root, exit_code=ExitCode.REFUSED, message=message)
            return
        folders = sorted(path.parent for path in root.rglob(JOURNAL_NAME))
        num_resumed = 0
        for folder in folders:
            reason = _reason_to_leave(folder)
            if reason is None:
                self.resume(folder)
                num_resumed += 1
            elif reason:
                self._say(folder, f"{folder}: {reason}")
        if not num_resumed and not self._is_json:
            print_line(f"{root}: no unfinished run in it ({len(folders)} runs)")

    def _say(self, path: Path, message: str, archive: Path | None = None) -> None:
        if not self._is_json:
            print_line(message)
        self._note(path, "complete" if archive else None, archive, message=message)

    def _note(
        self,
        path: Path,
        status: str | None = None,
        archive: Path | None = None,
        exit_code: int = ExitCode.DONE,
        message: str | None = None,
    ) -> None:
        self.outcomes.append(
            {
                "path": str(path),
                "status": status,
                "archive": str(archive) if archive else None,
                "exit_code": exit_code,
                "message": message,
            }
        )


def _reason_to_leave(folder: Path) -> str | None:
    """Say why a run is resumed only if its folder is named, with the command to do so.

    Returns:
        None for a run to resume, an empty text for one that is complete.
    """
    from qexp.batch.journal import read_ledger
    from qexp.config.recorded_config import parse
    from qexp.config.runs import NOTHING_RECORDED, config_of, finished_archive
    from qexp.ending import resume_command

    reason = None
    # Resuming it meets the same errors again, and reports them.
    with suppress(ArchiveError, ConfigError):
        ledger, command = read_ledger(folder), resume_command(folder.resolve())
        if finished_archive(folder) is not None:
            reason = ""
        elif ledger.ended not in (None, "complete", "planned"):
            reason = f"ended {ledger.ended}; to try again what failed: {command}"
        elif not ledger.batches and ledger.ended != "complete":
            config_yaml = config_of(folder)
            if config_yaml is None:
                reason = NOTHING_RECORDED.format(folder)
            elif ledger.ended == "planned" or parse(config_yaml).get("stop_after") == "plan":
                reason = f"planned, and nothing is submitted; to run it: {command}"
    return reason
