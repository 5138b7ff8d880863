"""The points of a sweep as one experiment: what the default launcher does."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.cli.output import describe_error
from qexp.config.launching import Ends
from qexp.config.sweep_launcher import (
    DeclaredPoint,
    Launch,
    append_declaration,
    write_declaration,
)
from qexp.errors import (
    ConfigError,
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

_log = logging.getLogger("qexp")


class Together:
    """Runs the points of a sweep as one experiment, however many rounds a sweeper makes of them.

    Args:
        ends: Receives the errors that end rounds.
    """

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._open = ExitStack()
        self._experiment: Experiment | None = None
        self._specs: list[RunSpec] = []

    def __call__(
        self, points: Sequence[DeclaredPoint], launch: Launch
    ) -> list[Failed | float | None]:
        """Run the points of one round.

        Args:
            points: The points, in order.
            launch: The sweep that they are of.

        Returns:
            For each point, the error; the number that `sweep.value` names; None for one that did
            all it was asked for.

        Raises:
            QexpError: Nothing was submitted.
            KeyboardInterrupt: A stop was asked for.
        """
        from qexp.config.cleanup import LOG_NAME, clean_up

        folder, failure = launch.folder, None
        logging.captureWarnings(True)
        gc.enable()
        is_new = self._experiment is None and _make(folder)
        try:
            self._run(points, launch)
        except KeyboardInterrupt as error:
            self.close()
            if is_new and clean_up(folder, error):
                raise KeyboardInterrupt("interrupted before anything was submitted") from None
            raise
        except BaseException as error:  # A panic in Qiskit's Rust code is no `Exception`.
            if not isinstance(error, ConfigError):
                _log.error("the sweep ended with an error", exc_info=True)
            is_round = isinstance(error, JobsFailedError | PointsFailedError)
            if not is_round or not launch.has_rounds:
                self.close()
            if is_new and not is_round and clean_up(folder, error):
                raise
            failure = Failed(describe_error(error, folder / LOG_NAME), exit_code(error))
            self._ends.add(failure)
            if launch.has_rounds and not is_round:
                raise
        if stop_requested():
            raise KeyboardInterrupt(f"interrupted; what was measured is kept: {folder}")
        if self._experiment is None or launch.stops_early:
            return [failure] * len(points)
        ran = self._experiment.points[-len(points) :]
        return [self._value(*pair) for pair in zip(points, ran, strict=True)]

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

    def _run(self, points: Sequence[DeclaredPoint], launch: Launch) -> None:
        from qexp.experiment import start, start_more

        self._specs += [point.spec for point in points]
        if self._experiment is not None:
            append_declaration(points, launch.folder)
            start_more(self._experiment, self._specs)
            return
        write_declaration(points, launch)
        self._experiment = self._opened(launch)
        start(self._experiment)
        if not launch.has_rounds:
            self.close()

    def _opened(self, launch: Launch) -> Experiment:
        from qexp.points import open_experiment, points_in
        from qexp.progress import terminal_for

        enter, folder = self._open.enter_context, launch.folder
        terminal = enter(terminal_for(self._specs, folder))
        points = points_in(folder, self._specs)
        experiment = enter(open_experiment(folder, points, terminal, None))
        experiment.keeps_batches = launch.has_rounds
        return experiment

    def _value(self, declared: DeclaredPoint, point: Point) -> Failed | float | None:
        """Return what a sweeper that optimises asks for; None if it asks for nothing."""
        from qexp.archive.analyses import read_number

        assert self._experiment is not None
        if point.status != "complete":
            reason = self._experiment.ledger.unplanned.get(point.index)
            return Failed(reason.reason if reason else "it lacks results", ExitCode.JOBS_FAILED)
        if declared.value is None:
            return None
        try:
            return read_number(point.folder, declared.value)
        except QexpError as error:
            failed = Failed(f"{point.folder.name}: {error}", exit_code(error))
            self._ends.add(failed)
            return failed


def _make(folder: Path) -> bool:
    """Make a sweep's folder; return False if there is something in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return not any(folder.iterdir())
    except OSError as error:
        raise ConfigError(f"hydra.sweep.dir: {folder}: {error.strerror}") from None
