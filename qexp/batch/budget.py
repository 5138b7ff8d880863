"""The use of `budget.qpu`: what an experiment was charged, and what its other jobs may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from qexp.batch.packing import jobs_of
from qexp.batch.request import planned_piece
from qexp.core.bounds import overhead_s
from qexp.core.model import Charge
from qexp.errors import PlanError, UnfinishedError
from qexp.journal.ledger import Attempt, Ledger, Piece
from qexp.points import Experiment, Point
from qexp.resumption import resume_command
from qexp.text import format_duration

_ROUNDING_S = 1e-6


class Budget:
    """Counts what an experiment uses of its budget; journal and parts know all of it.

    Every attempt that was charged counts, whatever it gave. A charge that is pending or not known
    counts as predicted, as does a simulation. Made once the jobs of earlier processes are found.
    """

    def __init__(self, experiment: Experiment, budget_s: float) -> None:
        self._experiment, self._budget_s = experiment, budget_s
        self._seconds: dict[tuple[int, int], float] = {}
        self._used_s = 0.0
        ledger, jobs = experiment.ledger, dict[str, list[Attempt]]()
        stored = charges_of(experiment.points, ledger)
        for attempt in ledger.all_attempts():
            jobs.setdefault(attempt.job or attempt.tag, []).append(attempt)
        for attempts in jobs.values():
            self.note(attempts, stored)

    def note(self, attempts: Sequence[Attempt], charged: Mapping[tuple[int, int], Charge]) -> None:
        """Count the attempts that share a job; an earlier process may have collected some."""
        for attempt in attempts:
            key = attempt.partition, attempt.number
            if key in charged or key not in self._seconds:
                seconds = self._used_by(attempt, len(attempts), *charged.get(key, (0.0, False)))
                self._used_s += seconds - self._seconds.get(key, 0.0)
                self._seconds[key] = seconds

    def _used_by(self, attempt: Attempt, members: int, charged_s: float, is_pending: bool) -> float:
        uses_qpu = self._experiment.engine.uses_qpu
        if uses_qpu and charged_s > 0 and not is_pending:
            return charged_s
        counts = not attempt.is_over or attempt.holds_result or charged_s > 0 or is_pending
        # A job on a QPU may be charged unseen; a simulation ends with its process.
        is_unseen = attempt.job is not None and attempt.failure in ("lost", "undelivered")
        if not (counts or (uses_qpu and is_unseen)):
            return 0.0
        return self._predicted_s([attempt.piece] * members) / members

    def has_room_for(self, job: Sequence[Piece]) -> bool:
        """Return True if the budget holds another job, whatever is not known yet."""
        return self._used_s + self._predicted_s(job) <= self._budget_s + _ROUNDING_S

    def refuse(self, job: Sequence[Piece]) -> UnfinishedError:
        """Return the error that ends the work, with a note as of `note_needed`."""
        self.note_needed()
        return UnfinishedError(
            f"budget.qpu is {format_duration(self._budget_s)}, of which "
            f"{format_duration(self._used_s)} are used, and the next job is predicted to take "
            f"{format_duration(self._predicted_s(job))}; raise it to go on"
        )

    def check(self) -> None:
        """Refuse a plan that was just made if there is no room for all that is left.

        Raises:
            PlanError: There is none.
        """
        if not (needed := self.note_needed()):
            return
        experiment, used, those = self._experiment, "", "all jobs"
        remedy = f"raise it to at least {needed}, or run fewer circuits or shots"
        if experiment.ledger.batches:
            used, those = f", of which {format_duration(self._used_s)} are used", "all other jobs"
            spec = experiment.points[0].spec
            command = resume_command(experiment.folder, spec.config_yaml, needed, *spec.given_anew)
            remedy = f"raise it to go on: {command}"
        raise PlanError(
            f"budget.qpu is {format_duration(self._budget_s)}{used}, but {those} together are "
            f"predicted to take {format_duration(self._left_s())} of QPU time; {remedy}"
        )

    def note_needed(self) -> str:
        """Note the budget that holds all that is left, for the command to resume, and return it.

        Return `""` if this one does.
        """
        needed_s = self._used_s + self._left_s() - _ROUNDING_S
        if needed_s <= self._budget_s:
            return ""
        needed = f"budget.qpu={math.ceil(needed_s)}"
        self._experiment.next_words = (needed,)
        return needed

    def _left_s(self) -> float:
        """Return the QPU seconds predicted for all that is left."""
        wanted = self._experiment.ledger.wanted(self._experiment.policy)
        return sum(map(self._predicted_s, jobs_of(self._experiment, wanted)))

    def _predicted_s(self, job: Sequence[Piece]) -> float:
        """Return the predicted QPU seconds of pieces that share a job, which has one overhead."""
        spec = self._experiment.point_of(job[0].partition).spec
        saved_s = overhead_s(spec.partition, spec.limits) * (len(job) - 1)
        return sum(planned_piece(self._experiment, piece).qpu_s for piece in job) - saved_s


def charges_of(points: Sequence[Point], ledger: Ledger) -> dict[tuple[int, int], Charge]:
    """Return what the attempts with an outcome on disk were charged: (partition, attempt)."""
    return {
        (ledger.partitions_of(point.index).start + partition, number): charge
        for point in points
        for (partition, number), charge in point.store.charges().items()
    }
