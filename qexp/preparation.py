"""Backends and plans of an experiment: selected and made, or read as a process left them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from qexp.batch.pacing import Patience
from qexp.batch.packing import gather_plan, read_plan
from qexp.batch.recover import note_stored_outcomes
from qexp.core.jsonable import to_plain
from qexp.core.model import InstanceUsage, Plan
from qexp.core.protocols import MeteredEngine, RemoteEngine
from qexp.errors import ConfigError, EngineError, OutageError, PlanError, QexpError
from qexp.interrupts import StopRequested, stop_requested
from qexp.journal.events import Planned, Unplanned
from qexp.planning.build import plan_points
from qexp.planning.forecast import check_forecast
from qexp.planning.partition import PointPlan
from qexp.planning.table import check_max_time
from qexp.points import Experiment, Point
from qexp.provenance import describe_backend, describe_environment, run_header
from qexp.redact import redact, redactor
from qexp.text import one_line

_MOST_TOGETHER = 16
"""Points that are planned together at most: all are planned anew after a kill meanwhile."""


def select_backends(experiment: Experiment) -> None:
    """Select the backend of each lane: as declared, or the one that a recorded plan is for."""
    for lane in experiment.lanes:
        points = [point for point in experiment.points if point.lane == lane]
        there = [one for one in experiment.points if one.spec.place == points[0].spec.place]
        recorded = next((name for one in there if (name := one.recorded_backend)), None)
        known = next((one.backend for one in there if one.backend is not None), None)
        backend = known or points[0].spec.select_backend(recorded)
        experiment.engine.check_backend(backend)
        if recorded is not None and backend.name != recorded:
            raise ConfigError(
                f"backend: the run's circuits are for {recorded!r}, and the config selects "
                f"{backend.name!r}; select {recorded!r}"
            )
        for point in points:
            point.backend = backend
        engine = experiment.engine
        if isinstance(engine, RemoteEngine):
            engine.limit_waiting(backend, experiment.policy.outage_s)
        numbers = [point.index for point in points]
        experiment.observer.backend_selected(backend.name, backend.num_qubits, engine.name, numbers)


def _warn_of_ignored_options(experiment: Experiment) -> None:
    warnings = (
        f"workload '{workload.name}': the engine '{experiment.engine.name}' does not honour "
        f"{option}={value}"
        for point in experiment.points
        for workload in point.spec.workloads
        for option, value in experiment.engine.ignored_options(workload.primitive).items()
    )
    for warning in dict.fromkeys(warnings):
        experiment.observer.warned(warning)


def select(experiment: Experiment) -> None:
    """Select the backends; on a resume with patience, because jobs may be waiting there.

    Raises:
        OutageError: The service was out of reach for too long.
    """
    if not experiment.ledger.process_number:
        select_backends(experiment)
    else:
        try:
            Patience(experiment).call(partial(select_backends, experiment), (OutageError,))
        except StopRequested:
            raise KeyboardInterrupt("interrupted; what was measured is kept") from None
    _warn_of_ignored_options(experiment)


def make_plan(experiment: Experiment) -> None:
    """Plan every point that is not; return once each part is on disk, its digest in the journal.

    A point of a sweep that cannot run is left out, as long as another can.
    """
    failed: list[QexpError] = []
    environment = to_plain(describe_environment(Path.cwd()), redactor())
    described = {lane: _described(experiment, lane) for lane in experiment.lanes}
    workers = experiment.workers if experiment.plans_with_workers else None
    for points in _with_same_circuits(experiment):
        if stop_requested():
            # Python has dropped the exception while the points before were planned.
            raise KeyboardInterrupt
        for point in points:
            # An incomplete plan is rebuilt; jobs are submitted only once it is committed.
            point.store.discard_plan()
            header = run_header(point.spec, point.folder.name, described[point.lane], environment)
            point.store.write_header(header)
        for plan in plan_points(points, experiment.observer, workers):
            try:
                _commit(experiment, plan)
                experiment.observer.point_planned(plan.point.index)
            except PlanError as error:
                if not experiment.is_sweep:
                    raise
                failed.append(error)
                reason = one_line(redact(str(error))).rstrip(".")
                experiment.journal.append(Unplanned(plan.point.index, reason, error.exit_code))
                experiment.observer.point_failed(plan.point.index, reason)
    if not experiment.ledger.planned and not experiment.keeps_batches:
        raise PlanError(
            f"no point of the sweep can run; of the first one: {failed[0]}"
        ) from failed[0]
    gather_plan(experiment)
    if experiment.stop_after == "plan":
        experiment.plan = replace(experiment.plan, instances=tuple(_usages(experiment)))
    max_time_s = experiment.points[0].spec.max_time_s
    experiment.observer.planned(experiment.plan, max_time_s, experiment.limits)
    for message in _time_warnings(experiment) if experiment.engine.uses_qpu else ():
        experiment.observer.warned(message)


def _described(experiment: Experiment, lane: int) -> Any:
    backend, engine = experiment.backend_of(lane), experiment.engine
    metered = {"instance": engine.instance(backend)} if isinstance(engine, MeteredEngine) else {}
    return to_plain(describe_backend(backend) | metered, redactor())


def _usages(experiment: Experiment) -> Iterator[InstanceUsage]:
    """Yield the usage of each instance that is to be charged; it is not known if that fails."""
    engine, points = experiment.engine, dict[str, list[Point]]()
    if not isinstance(engine, MeteredEngine):
        return
    for point in experiment.points:
        points.setdefault(engine.instance(experiment.backend_of(point.lane)), []).append(point)
    for name, own in points.items():
        usage = InstanceUsage(name)
        try:
            usage = engine.read_usage(experiment.backend_of(own[0].lane))
        except EngineError as error:
            experiment.observer.warned(str(error))
        yield replace(usage, points=frozenset(point.index for point in own))


def _with_same_circuits(experiment: Experiment) -> Iterator[Sequence[Point]]:
    """Yield the points to be planned, those with the same circuits on one backend together."""
    alike = dict[Hashable, list[Point]]()
    for point in experiment.unplanned:
        # What an earlier round has tried is not tried again.
        if point.index >= experiment.first_of_round:
            spec, key = point.spec, [id(point.backend), point.spec.seed, point.spec.partition]
            for each in spec.workloads:
                circuits = each.circuits or point.index
                key += each.name, circuits, each.is_archived, each.transpile, each.primitive.kind
            alike.setdefault(tuple(key), []).append(point)
    for points in alike.values():
        yield from (points[k : k + _MOST_TOGETHER] for k in range(0, len(points), _MOST_TOGETHER))


def _commit(experiment: Experiment, plan: PointPlan) -> None:
    """Commit the plan of a point.

    Raises:
        PlanError: It cannot run.
    """
    if plan.error is not None:
        raise plan.error
    point, spec, first = plan.point, plan.point.spec, experiment.ledger.num_partitions
    check_max_time(Plan(tuple(plan.partitions)), spec.max_time_s, spec.limits)
    check_forecast(plan.forecast, spec.engine)
    point.forecast = plan.forecast
    point.number(plan.partitions, first)
    experiment.journal.append(Planned(tuple(plan.digests), point=point.index, first=first))


def _time_warnings(experiment: Experiment) -> Iterator[str]:
    """Yield a line for each lane of which a batch may end before its last job."""
    for lane in experiment.lanes:
        spec = experiment.points[lane].spec
        points = {point.index for point in experiment.points if point.lane == lane}
        if (plan := experiment.plan.part(points)).partitions:
            yield from check_max_time(plan, spec.max_time_s, spec.limits)


def load_plan(experiment: Experiment) -> None:
    """Read the committed plan and the outcomes on disk."""
    ledger = experiment.ledger
    read_plan(experiment)
    if not ledger.planned:
        return
    note_stored_outcomes(experiment)
    # By partition: several jobs may hold PUBs of one.
    done, in_flight = ledger.done, {attempt.partition for attempt in ledger.open_attempts()}
    missing = ledger.num_partitions - len(done | in_flight)
    if ledger.process_number:
        experiment.observer.resumed(experiment.plan, len(done), len(in_flight - done), missing)
        for point in experiment.points:
            if experiment.is_measured(point):
                experiment.observer.point_measured(point.index)
