"""The runs that `resume`, `cancel` and `status` are given: by name, or all below a folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexp.cli.output import print_error, print_json, print_line, report_error
from qexp.cli.verbs import PROGRAM, add_json, add_trust
from qexp.errors import ArchiveError, ConfigError, ExitCode, QexpError

if TYPE_CHECKING:
    from qexp.archive.sweep_file import SweepPoint

ANEW = """
Words key=value after the runs give anew where the account is (backend.instance, backend.account,
backend.channel), as after an instance was renamed, the budget (budget.qpu), whether raw data are
kept (archive.raw), and how jobs are driven (execution.KEY).
"""

Outcome = dict[str, Any]
"""`path`, `exit_code`, `message`, and what the verb adds; its JSON form is documented there."""


def add_runs(parser: argparse.ArgumentParser, every: str) -> None:
    """Add the runs, `--all` (`every` says which, in its help), `--trust` and `--json`."""
    parser.add_argument("runs", metavar="RUN_DIR", nargs="*", help="folder of a run, or key=value")
    parser.add_argument(
        "--all", metavar="ROOT", help=f"{every} below this folder, one after the other"
    )
    add_trust(parser)
    add_json(parser)


class Runs:
    """The runs of a command line, and the overrides after them.

    `unknown` is what the verb adds to an outcome, for a run that it knows nothing of.

    Raises:
        ConfigError: No run is named, or an override cannot be given anew.
    """

    def __init__(self, verb: str, given: argparse.Namespace, unknown: Mapping[str, Any]) -> None:
        from qexp.config.given_anew import given_anew, is_override

        self.given, self._unknown = given, unknown
        self.anew = [word for word in given.runs if is_override(word)]
        named = [Path(word) for word in given.runs if word not in self.anew]
        self.paths = [one for path in named for one in _runs_of(path, verb == "resume")]
        if not self.paths and given.all is None:
            raise ConfigError(
                "name the folder of a run, or --all and a folder with runs in it; "
                f"'{PROGRAM} {verb} --help' explains"
            )
        given_anew({}, self.anew)

    def for_each(
        self, work: Callable[[Path], Outcome], reason_to_leave: Callable[[Path], str | None]
    ) -> int:
        """Work on one run after the other, and return the highest of their exit codes.

        `reason_to_leave` says why `--all` leaves a run alone, on one line; an empty text for one
        that is not worth a word, None for one to work on.
        """
        outcomes: list[Outcome] = []
        try:
            outcomes.extend(self._outcomes(work, reason_to_leave))
        finally:
            if self.given.json:
                print_json(outcomes)
        return max((outcome["exit_code"] for outcome in outcomes), default=ExitCode.DONE)

    def say(self, message: str) -> str:
        """Print a line, unless JSON is asked for, and return it."""
        if not self.given.json:
            print_line(message)
        return message

    def _outcomes(
        self, work: Callable[[Path], Outcome], reason_to_leave: Callable[[Path], str | None]
    ) -> Iterator[Outcome]:
        for path in self.paths:
            yield work(path)
        if self.given.all is None:
            return
        root, num_runs, num_done, is_hidden = Path(self.given.all), 0, 0, False
        if not root.is_dir():
            message = f"--all: {root} does not exist; name a folder with runs in it, as outputs"
            yield self._failed(root, message, ExitCode.REFUSED)
            return
        for folder, problem in _folders(root):
            if problem is not None:
                is_hidden = True
                yield self._failed(folder, problem, ExitCode.BAD_ARCHIVE)
                continue
            num_runs += 1
            reason = reason_to_leave(folder)
            if reason is None:
                num_done += 1
                yield work(folder)
            elif reason:
                yield self.outcome(folder, message=self.say(f"{folder}: {reason}"))
        if not num_done and not is_hidden:
            self.say(f"{root}: no unfinished run in it ({num_runs} runs)")

    def outcome(
        self,
        path: Path,
        exit_code: int = ExitCode.DONE,
        message: str | None = None,
        **known: Any,
    ) -> Outcome:
        """Return what came of a run."""
        more = {**self._unknown, **known}
        return {"path": str(path), **more, "exit_code": exit_code, "message": message}

    def work_on(
        self,
        path: Path,
        consequence: str,
        left: str,
        work: Callable[[Path], Outcome],
        *,
        is_new: bool = False,
    ) -> Outcome:
        """Work on one run, with its log. Whatever goes wrong is one line and stops no other run.

        The log of an error begins with its `consequence`; `left` is the verb for what is left to
        do, of which a run that is complete has nothing. A folder that `is_new` is made, and cleaned
        up after an error.
        """
        from qexp.config.cleanup import LOG_NAME, cleaning_up, make_folder
        from qexp.config.paths import run_folder
        from qexp.resumption import finished_archive
        from qexp.runlog import logging_into

        log = None
        try:
            is_new = is_new and make_folder(path, str(path))
            folder = path if is_new else run_folder(path)
            log = folder / LOG_NAME
            with cleaning_up(folder, is_new=is_new), logging_into(log, consequence):
                archive = finished_archive(folder)
                if archive is None:
                    return work(folder)
            message = self.say(f"complete, nothing is left to {left}: {archive}")
            return self.outcome(path, message=message, status="complete", archive=str(archive))
        except (Exception, SystemExit) as error:
            return self.reported(path, error, log)

    def reported(self, path: Path, error: BaseException, log: Path | None = None) -> Outcome:
        """Print an error that ended the work on a run, and return it as its outcome."""
        code, message = report_error(error, log, str(path))
        return self.outcome(path, code, message)

    def _failed(self, path: Path, message: str, code: ExitCode) -> Outcome:
        print_error(message)
        return self.outcome(path, code, message)


def each_point(
    sweep: Path, work: Callable[[Path], int], *, is_quiet: bool = False
) -> tuple[list[int], int]:
    """Work on each point of a sweep that has results; what fails of one stops no other.

    Return the exit codes, and the number of points without results.
    """
    from qexp.sweeps.opened import open_sweep

    points, codes = open_sweep(sweep).points, list[int]()
    for point in (each for each in points if each.status in ("complete", "partial")):
        if not is_quiet:
            print_line(f"point {point.index}: {point.folder.name}")
        try:
            codes.append(work(point.folder))
        except QexpError as error:
            codes.append(report_error(error, subject=point.folder.name)[0])
    return codes, len(points) - len(codes)


def never_begun(folder: Path) -> SweepPoint | None:
    """Return a point that is to be a run of its own, and has not begun; None for any other path."""
    from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME
    from qexp.archive.sweep_file import POINTS_NAME, read_sweep

    has_begun = any((folder / name).exists() for name in (ARCHIVE_NAME, JOURNAL_NAME))
    if has_begun or not (folder.parent / POINTS_NAME).is_file():
        return None
    points = read_sweep(folder.parent, POINTS_NAME).points
    return next((point for point in points if point.folder == folder.name), None)


def _runs_of(path: Path, with_all: bool) -> list[Path]:
    """Return the points of a sweep that are runs of their own; any other path as it is.

    With `with_all` also those that never began.
    """
    from qexp.archive.sweep_file import POINTS_NAME, read_sweep

    if not (path / POINTS_NAME).is_file():
        return [path]
    points = [path / point.folder for point in read_sweep(path, POINTS_NAME).points]
    return [point for point in points if with_all or point.is_dir()]


def _folders(root: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the folders with a journal, and those that cannot be looked into, with the reason."""
    from qexp.archive.schema import JOURNAL_NAME
    from qexp.archive.sweep_file import is_sweep
    from qexp.listing.find import find_runs

    for folder in sorted(run.folder for run in find_runs(root, whole_sweeps=True)):
        problem = None
        try:
            os.listdir(folder)
            if not is_sweep(folder) and not (folder / JOURNAL_NAME).is_file():
                continue
        except NotADirectoryError:
            continue
        except OSError as error:
            problem = (
                f"{folder} cannot be read: {error.strerror}; any run in it is left as it is; "
                f"check permissions"
            )
        yield folder, problem


def is_finished(folder: Path) -> bool:
    """Return True for a run with nothing left to do; an error counts as something."""
    from qexp.resumption import finished_archive

    with suppress(ArchiveError, ConfigError):
        return finished_archive(folder) is not None
    return False
