"""`python -m qexp resume RUN_DIR`: continue a run from what is in its folder alone."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.cli.named_runs import ANEW, Outcome, Runs, add_runs, never_begun
from qexp.errors import ArchiveError, ConfigError

if TYPE_CHECKING:
    from qexp.archive.sweep_file import SweepPoint
    from qexp.config.sweep_launcher import Launch
    from qexp.core.spec import RunSpec
    from qexp.journal.ledger import Ledger

_EPILOG = f"""
A run that is complete is left as it is. Jobs in flight are found again and collected; only what
is missing, failed or was cancelled is submitted, in a new batch that follows the first. What the
service refused is submitted again only with --retry-refused. With --collect-only the exit code is
6 as long as something is left.
{ANEW}
examples:
  python -m qexp resume outputs/random_sampling/20261122T094439Z-d16302
  python -m qexp resume outputs/random_sampling/20261122T094439Z-d16302 backend.instance=new-name
  python -m qexp resume --all outputs --collect-only
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    add_runs(parser, "every unfinished run")
    parser.add_argument(
        "--collect-only",
        action="store_true",
        help="take what is finished; wait for nothing and submit nothing",
    )
    parser.add_argument(
        "--retry-refused",
        action="store_true",
        help="also try again what the service refused (execution.retry_refused=true)",
    )
    parser.add_argument(
        "--add",
        metavar="KEY=VALUES",
        action="append",
        default=[],
        help="add points to a sweep: further values of a swept key, or sweep.points, sweep.zip, "
        "sweep.sample.n",
    )
    parser.add_argument(
        "--repair-journal",
        action="store_true",
        help="rebuild a damaged journal first, from what is readable and on disk; keep a copy",
    )


def run(given: argparse.Namespace) -> int:
    """Resume the runs that the command line names; return the highest of their exit codes.

    The JSON form of a run is `path`, `status` of the archive (null: there is none, or the run was
    left alone), `archive`, `exit_code`, and `message`, which is null for one that was resumed to
    its end.
    """
    runs = Runs("resume", given, {"status": None, "archive": None})
    leave = partial(_reason_to_leave, collects=given.collect_only)
    return runs.for_each(partial(_resume, runs), leave)


def _resume(runs: Runs, path: Path) -> Outcome:
    if runs.given.add:
        return _add(runs, path)
    point = never_begun(path)
    if point is not None and runs.given.collect_only:
        return runs.outcome(path, message=runs.say(f"{path}: never begun"))

    def resume_it(folder: Path) -> Outcome:
        from qexp.experiment import resume, run
        from qexp.progress import Terminal
        from qexp.resumption import finished_archive

        given, message = runs.given, None
        specs = _specs(runs, folder, point)
        with Terminal(specs, folder, is_quiet=given.json) as terminal:
            report = (run if point else resume)(specs, folder, terminal)
        if report.plan is None and finished_archive(folder) is not None:
            # A batch was still open.
            message = runs.say(f"complete, and now closed on the service: {report.archive}")
        archive = None if report.archive is None else str(report.archive)
        return runs.outcome(path, message=message, status=report.status, archive=archive)

    failure = "the run was not resumed to its end"
    return runs.work_on(path, failure, "do", resume_it, is_new=point is not None)


def _specs(runs: Runs, folder: Path, point: SweepPoint | None) -> list[RunSpec]:
    """Return the specs of a run or a sweep, or of a point that is to be a run and never began."""
    from qexp.config.runs import declared_spec, recorded_specs
    from qexp.journal.repair import repair_journal

    given = runs.given
    if point is not None:
        return [declared_spec(point, given.trust, runs.anew)]
    if given.repair_journal and (repaired := repair_journal(folder)) is not None:
        runs.say(repaired)
    anew = runs.anew + ["execution.retry_refused=true"] * given.retry_refused
    recorded = recorded_specs(folder, given.trust, anew, plans=not given.collect_only)
    return _bounded(recorded, folder, runs)


def _add(runs: Runs, path: Path) -> Outcome:
    """Add points to a sweep, composed by its own command line, and go on with it."""
    from qexp.archive.sweep_file import is_sweep, read_sweep
    from qexp.cli.job import run as run_job
    from qexp.config.added_points import extended_overrides
    from qexp.config.cleanup import LOG_NAME
    from qexp.config.paths import run_folder
    from qexp.journal.file import read_ledger

    log = None
    try:
        folder = run_folder(path)
        log = folder / LOG_NAME
        if not is_sweep(folder):
            raise ConfigError(f"--add: {path} is no sweep; name the folder of one")
        flags = ("collect_only", "retry_refused", "repair_journal", "trust")
        given = [f"--{name.replace('_', '-')}" for name in flags if getattr(runs.given, name)]
        if others := [*given, *runs.anew]:
            raise ConfigError(f"--add: cannot be combined with {' '.join(others)}; resume it first")
        anew = read_ledger(folder).anew
        overrides = extended_overrides(folder, read_sweep(folder), runs.given.add, anew)
        code = run_job(["-m", *overrides], partial(_merge, is_quiet=runs.given.json))
        return runs.outcome(path, code, status="complete" if not code else None)
    except (Exception, SystemExit) as error:
        return runs.reported(path, error, log)


def _merge(launch: Launch, *, is_quiet: bool) -> list[None]:
    """Declare the points that a sweep does not have yet, and resume it."""
    from qexp.archive.sweep_file import read_sweep, write_sweep
    from qexp.config.added_points import merge_points
    from qexp.config.paths import new_point_id
    from qexp.experiment import resume
    from qexp.journal.lock import lock_folder
    from qexp.progress import Terminal

    folder = launch.folder
    with lock_folder(folder):
        sweep = read_sweep(folder)
        merged, order = merge_points(sweep, launch.sweep.points, partial(new_point_id, sweep.id))
        specs = [launch.specs[position] for position in order]
        write_sweep(folder, replace(sweep, points=merged, overrides=launch.sweep.overrides))
    with Terminal(specs, folder, is_quiet=is_quiet) as terminal:
        resume(specs, folder, terminal)
    return [None] * len(launch.specs)


def _bounded(specs: list[RunSpec], folder: Path, runs: Runs) -> list[RunSpec]:
    """Return the specs with which a run is only collected, if that is asked for.

    `--all` also only collects a run that was cancelled: what was cancelled is submitted again by
    those who name the run.
    """
    from qexp.journal.file import read_ledger

    is_named = folder in (path.resolve() for path in runs.paths)
    if runs.given.collect_only or (not is_named and read_ledger(folder).is_cancelled):
        return [replace(spec, stop_after="collect") for spec in specs]
    return specs


def _reason_to_leave(folder: Path, *, collects: bool) -> str | None:
    """Say why a run is resumed only if its folder is named, with the command to do so.

    None is for a run to resume, an empty text for one that is complete.
    """
    from qexp.config.recorded_config import parse
    from qexp.config.runs import NOTHING_RECORDED, config_of
    from qexp.journal.file import read_ledger
    from qexp.resumption import finished_archive, modules_to_trust, resume_command

    # Resuming a run meets the same errors again, and reports them.
    with suppress(ArchiveError, ConfigError):
        ledger = read_ledger(folder)
        if finished_archive(folder) is not None:
            return ""
        config_yaml, command = config_of(folder), resume_command(folder.resolve())
        if modules := modules_to_trust(parse(config_yaml or "{}")):
            command += f" (add --trust {' --trust '.join(modules)} if you trust that code)"
        if reason := _ended(ledger):
            return f"{reason}: {command}"
        if not ledger.batches and ledger.ended != "complete":
            if config_yaml is None:
                return NOTHING_RECORDED.format(folder)
            is_plan = ledger.ended == "planned" or parse(config_yaml).get("stop_after") == "plan"
            if is_plan or collects:
                return f"planned, and nothing is submitted; to run it: {command}"
    return None


def _ended(ledger: Ledger) -> str | None:
    """Say why a run that has ended is not tried again by itself; None for one that has not."""
    if ledger.is_cancelled and not ledger.open_attempts():
        return "cancelled; to submit again what was cancelled"
    if ledger.ended not in (None, "complete", "planned"):
        return f"ended {ledger.ended}; to try again what failed"
    return None
