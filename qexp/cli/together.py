"""The points of a sweep as one experiment: what the default launcher does."""

from __future__ import annotations

import gc
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

from qexp.cli.output import describe_error
from qexp.config.cleanup import LOG_NAME, cleaning_up, make_folder
from qexp.config.launching import Ends
from qexp.config.sweep_launcher import Launch, write_declaration
from qexp.errors import (
    ExitCode,
    Failed,
    JobsFailedError,
    PointsFailedError,
    QexpError,
    exit_code,
)
from qexp.interrupts import stop_requested

if TYPE_CHECKING:
    from qexp.core.spec import RunSpec
    from qexp.points import Experiment, Point


class Together:
    """Runs the points of a sweep as one experiment, however many rounds a sweeper makes of them.

    `ends` receives the errors that end rounds.
    """

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._open = ExitStack()
        self._experiment: Experiment | None = None
        self._specs: list[RunSpec] = []

    def __call__(self, launch: Launch) -> list[Failed | float | None]:
        """Run the points of one round, and return for each what `run_point` returns for one.

        An error is raised if no round can follow, `KeyboardInterrupt` if a stop was asked for.

        Raises:
            QexpError: No round can follow.
            KeyboardInterrupt: A stop was asked for.
        """
        folder, failure = launch.folder, None
        logging.captureWarnings(True)
        gc.enable()
        is_new = launch.is_first and make_folder(folder, "hydra.sweep.dir")
        try:
            with cleaning_up(folder, is_new=is_new, failure="the sweep ended with an error"):
                self._run(launch)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            is_round = isinstance(error, JobsFailedError | PointsFailedError)
            if launch.has_rounds and not is_round:
                raise
            failure = Failed(describe_error(error, folder / LOG_NAME), exit_code(error))
            self._ends.add(failure)
        if stop_requested():
            raise KeyboardInterrupt(f"interrupted; what was measured is kept: {folder}")
        if self._experiment is None or launch.specs[0].stop_after is not None:
            return [failure] * len(launch.specs)
        ran = self._experiment.points[-len(launch.specs) :]
        return [self._value(launch.value, point) for point in ran]

    def close(self) -> None:
        """Close the batches that are open, and the experiment."""
        with self._open:
            experiment, self._experiment = self._experiment, None
            if experiment is None or not experiment.keeps_batches:
                return
            from qexp.batch.execute import close_kept
            from qexp.endings import clear_parts
            from qexp.experiment import analyse_sweep

            if experiment.open_batches:
                close_kept(experiment)
            experiment.keeps_batches = False
            clear_parts(experiment)
            if not stop_requested():
                analyse_sweep(experiment)

    def _run(self, launch: Launch) -> None:
        """Run the points; the experiment stays open if more of them may follow."""
        from qexp.experiment import start, start_more

        write_declaration(launch)
        self._specs += launch.specs
        stays_open = False
        try:
            if launch.is_first:
                self._experiment = self._opened(launch)
                start(self._experiment)
            else:
                assert self._experiment is not None
                start_more(self._experiment, self._specs)
            stays_open = launch.has_rounds
        except (JobsFailedError, PointsFailedError):
            stays_open = launch.has_rounds
            raise
        finally:
            if not stays_open:
                self.close()

    def _opened(self, launch: Launch) -> Experiment:
        from qexp.points import open_experiment, points_in
        from qexp.progress import Terminal

        enter, folder = self._open.enter_context, launch.folder
        terminal = enter(Terminal(self._specs, folder))
        points = points_in(folder, self._specs)
        experiment = enter(open_experiment(folder, points, terminal, None))
        experiment.keeps_batches = launch.has_rounds
        return experiment

    def _value(self, named: str | None, point: Point) -> Failed | float | None:
        """Return what a sweeper that optimises asks for; None if it asks for nothing."""
        from qexp.archive.analyses import read_number

        assert self._experiment is not None
        if point.status != "complete":
            reason = self._experiment.ledger.unplanned.get(point.index)
            return Failed(reason.reason if reason else "it lacks results", ExitCode.JOBS_FAILED)
        if named is None:
            return None
        try:
            return read_number(point.folder, named)
        except QexpError as error:
            failed = Failed(f"{point.folder.name}: {error}", exit_code(error))
            self._ends.add(failed)
            return failed
