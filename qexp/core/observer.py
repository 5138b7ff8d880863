"""Progress events of an experiment. The terminal shows them; `Observer` itself is silent."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qexp.core.model import JobOutcome, JobState, Partition, Plan, Progress, RunStatus
from qexp.core.spec import Limit

if TYPE_CHECKING:
    from pathlib import Path


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PointSummary:
    """The state of a point when its archive is sealed."""

    status: RunStatus
    done: int  # jobs that have a result
    planned: int  # jobs that were planned
    num_pubs: int  # PUBs that were planned
    usage_s: float  # QPU seconds charged for all attempts, where reported
    predicted_s: float  # QPU seconds predicted for the plan
    batch_ids: tuple[str, ...]  # every batch, in order
    usage_pending: int = 0  # jobs whose charge is not final yet
    next_words: tuple[str, ...] = ()  # of the command that goes on, besides what was given anew
    point: int = 0  # number of the point in the experiment


@dataclass(frozen=True)
class SweepSummary:
    """The state of a sweep when a process has ended its work on it."""

    status: RunStatus
    points: tuple[RunStatus, ...]  # of each point
    failed: Mapping[int, str]  # points with nothing left to try: number -> reason
    jobs: int  # planned jobs, shared ones once
    usage_s: float  # QPU seconds charged for all points so far, where reported
    usage_pending: int  # charges that are not final yet
    predicted_s: float  # QPU seconds predicted for the plan
    batch_ids: tuple[str, ...]  # every batch, in order
    next_words: tuple[str, ...] = ()  # as in `PointSummary`


class Observer:
    """Receives the stages of an experiment in order; every method may be overridden."""

    def backend_selected(
        self, name: str, num_qubits: int, engine: str, points: Sequence[int] = ()
    ) -> None:
        """The backend is resolved, and runs these points."""

    def pub_planned(self, workload: str, count: int) -> None:
        """`count` PUBs of a workload are transpiled and checked, for all points that share them."""

    def planned(self, plan: Plan, max_time_s: int | None, limits: Mapping[str, Limit]) -> None:
        """The plan is complete and on disk."""

    def point_planned(self, point: int) -> None:
        """The plan of a point is complete and on disk."""

    def point_failed(self, point: int, reason: str) -> None:
        """A point of a sweep cannot run; the others go on."""

    def warned(self, message: str) -> None:
        """Something is no error, but a researcher should know it."""

    def resumed(self, plan: Plan, done: int, in_flight: int, missing: int) -> None:
        """A run is resumed: partitions with a result, with a job in flight, with neither."""

    def jobs_packed(self, jobs: int) -> None:
        """This many jobs are about to be submitted."""

    def batch_opened(self, batch_id: str) -> None:
        """The batch exists."""

    def job_submitted(self, partition: Partition, job_id: str) -> None:
        """A job is submitted."""

    def submission_paused(self, reason: str, seconds: float) -> None:
        """The service takes no job now; the next attempt is due within this many seconds."""

    def job_adopted(self, partition: int, job_id: str) -> None:
        """A job that was submitted earlier is found again."""

    def trying_again(self, charged_s: Mapping[int, float], predicted_s: float) -> None:
        """Partitions that failed are about to be submitted again on a QPU.

        `charged_s` are the QPU seconds that the attempts of each were charged so far, and
        `predicted_s` those that are predicted for all of them.
        """

    def attempt_failed(self, outcome: JobOutcome) -> None:
        """A job failed, and is going to be submitted again."""

    def service_lost(self, reason: str, seconds: float) -> None:
        """The service cannot be reached; it is asked again after this many seconds."""

    def queue_seen(self, length: int) -> None:
        """This many jobs of all users wait for the backend."""

    def jobs_moved(self, states: Counter[JobState], progress: Progress) -> None:
        """This many jobs are in each state; simulated ones are this far."""

    def job_collected(self, outcome: JobOutcome) -> None:
        """A job's outcome is on disk."""

    def point_measured(self, point: int) -> None:
        """A point has every result; of a resumed sweep, it may have had them before."""

    def detached(self, plan: Plan, out: int, batch_ids: Sequence[str]) -> None:
        """Everything is submitted; `out` jobs are left to be collected later."""

    def sealed(self, archive: Path, summary: PointSummary) -> None:
        """The archive is complete and final."""

    def sweep_ended(self, folder: Path, summary: SweepSummary) -> None:
        """The work of this process on a sweep is done; each point of it was `sealed` before."""

    def analysed(self, name: str, summary: str, point: int | None = 0) -> None:
        """An analysis is made, and stored if there was anything to say; `None`: of the sweep."""


class Guarded(Observer):
    """Passes every event on; an error of `inner` is logged, because it must not cost a result."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        receive = getattr(object.__getattribute__(self, "_inner"), name)

        def pass_on(*arguments: Any) -> None:
            try:
                receive(*arguments)
            except (Exception, SystemExit):
                # Rich ends the process when the reader of its output has gone.
                _log.warning("%s could not be shown", name, exc_info=True)

        return pass_on
