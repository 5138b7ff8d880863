from __future__ import annotations

from dataclasses import replace

import pytest

from qexp.core.model import InstanceUsage, Partition, Plan, PlannedJob
from qexp.core.spec import Limit, PartitionLimits
from qexp.errors import PlanError
from qexp.planning.table import HEADERS, Lane, check_max_time, plan_table

PLAN = Plan(
    (
        Partition(0, "main", 0, 100, 4096, None, 409_600, 1_500_000, 104.4, "max_circuits"),
        Partition(1, "main", 100, 150, 4096, None, 204_800, 700_000, 53.2, "end"),
        Partition(2, "energy", 0, 1, None, 0.1, 600, 3_000, 2.2, "end"),
    )
)


def test_one_row_per_workload_and_a_total() -> None:
    table = plan_table(PLAN, None, {})
    assert table.headers == HEADERS
    assert [row.cells() for row in table.workloads] == [
        ("main", "2", "150", "614,400", "2.2 MB", "2m 38s"),
        ("energy", "1", "1", "600", "3.0 kB", "2.2s"),
    ]
    assert table.total.cells() == ("total", "3", "151", "615,000", "2.2 MB", "2m 40s")
    assert all(len(row.cells()) == len(HEADERS) for row in (*table.workloads, table.total))
    assert table.total.qpu_s == pytest.approx(PLAN.qpu_s)


def test_the_plan_against_max_time_and_the_service(service_limits: dict[str, Limit]) -> None:
    table = plan_table(PLAN, 120, service_limits)
    rows = {row.source: (row.planned, row.bound, row.is_within) for row in table.limits}
    assert rows == {
        "batch.max_time": ("2m 40s", "2m 0s", False),
        "limits.batch_max_time_s": ("2m 40s", "8h 0m 0s", True),
        "limits.open_plan_batch_max_time_s": ("2m 40s", "10m 0s", True),
        "limits.job_qpu_s": ("1m 44s", "3h 0m 0s", True),
        "limits.payload_bytes_per_job": ("1.5 MB", "50.0 MB", True),
    }


def test_the_users_own_bound_is_shown_where_it_is_the_smaller_one() -> None:
    limits = {
        "job_qpu_s": Limit(10_800, "docs", "2026-11-22"),
        "payload_bytes_per_job": Limit(50_000_000, "docs", "2026-11-22"),
    }
    table = plan_table(PLAN, None, limits, PartitionLimits(max_qpu_s=200, max_payload_bytes=10**9))
    shown = {row.what: (row.source, row.bound) for row in table.limits}
    assert shown["longest job"] == ("partition.max_qpu_s", "3m 20s")
    assert shown["largest payload of a job"] == ("limits.payload_bytes_per_job", "50.0 MB")


def test_without_limits_only_max_time_is_left() -> None:
    [row] = plan_table(PLAN, None, {}).limits
    assert (row.source, row.bound, row.is_within) == ("batch.max_time", "no limit", True)


def test_it_shows_itself_as_text_and_as_html() -> None:
    hostile = "<b>[bold]x[/nope]"
    table = plan_table(PLAN, 120, {}, backend=hostile)
    assert repr(table) == "<PlanTable 3 jobs, 151 circuits, 2m 40s: None>"
    assert f"Nothing was submitted. Backend: {hostile}" in str(table)
    assert "over" in str(table)
    html = table._repr_html_()
    assert "&lt;b&gt;[bold]x[/nope]" in html
    assert "<b>" not in html
    # Two workloads and their total; one bound.
    assert html.count("<tr>") == 1 + 3 + 1 + 1


def plan_of(*qpu_s: float) -> Plan:
    return Plan(
        tuple(
            Partition(k, "main", 100 * k, 100 * (k + 1), 100, None, 1, 1, one, "max_circuits")
            for k, one in enumerate(qpu_s)
        )
    )


def test_max_time_must_hold_the_longest_job(service_limits: dict[str, Limit]) -> None:
    with pytest.raises(PlanError) as caught:
        check_max_time(plan_of(50, 100.5, 60), 100, service_limits)
    message = str(caught.value)
    assert "batch.max_time is 1m 40s, but job 1 (workload 'main', PUBs 100 to 199)" in message
    assert "100.5 QPU seconds" in message


def test_max_time_must_be_within_the_services(service_limits: dict[str, Limit]) -> None:
    with pytest.raises(PlanError, match=r"8h 0m 1s, more than the 8h 0m 0s"):
        check_max_time(plan_of(50), 28801, service_limits)
    assert check_max_time(plan_of(50), 28800, service_limits) == []


def test_a_plan_that_outlasts_its_batch_is_warned_of(service_limits: dict[str, Limit]) -> None:
    assert check_max_time(plan_of(300, 300), None, service_limits) == []
    [declared] = check_max_time(plan_of(300, 290), 400, service_limits)
    assert "9m 50s of QPU time, more than batch.max_time of 6m 40s" in declared
    [open_plan] = check_max_time(plan_of(300, 301), None, service_limits)
    assert "the Open plan's longest batch of 10m 0s" in open_plan
    assert len(check_max_time(plan_of(*[10000] * 3), 20000, service_limits)) == 3
    assert check_max_time(plan_of(30000), None, {}) == []


def of_point(index: int, point: int, workload: str = "main") -> Partition:
    return Partition(index, workload, 0, 2, 100, None, 200, 1000, 5.0, "end", point)


# Points 0 and 1 share jobs, point 2 runs elsewhere; the overhead of a job is 2 s.
SWEEP = Plan(
    (of_point(0, 0), of_point(1, 0, "extra"), of_point(2, 1), of_point(3, 1), of_point(4, 2)),
    (PlannedJob((0, 2, 1), 4.0), PlannedJob((3,)), PlannedJob((4,))),
)


def test_the_rows_of_a_sweep_have_points_and_shared_jobs() -> None:
    table = plan_table(SWEEP, None, {})
    assert table.headers == ("workload", "points", *HEADERS[1:])
    # The first job has circuits of both workloads; two of its three overheads are saved.
    assert [row.cells() for row in table.workloads] == [
        ("main", "3", "3", "8", "800", "4.0 kB", "17s"),
        ("extra", "1", "1", "2", "200", "1.0 kB", "3.7s"),
    ]
    assert table.total.cells() == ("total", "3", "3", "10", "1,000", "5.0 kB", "21s")
    assert (SWEEP.num_jobs, SWEEP.qpu_s) == (3, 21.0)
    assert repr(table) == "<PlanTable 3 jobs, 10 circuits, 21s: None>"


def test_a_shared_job_is_held_against_the_limits_as_a_whole() -> None:
    bounds = PartitionLimits(max_qpu_s=20, max_payload_bytes=2000)
    rows = {row.what: row for row in plan_table(SWEEP, None, {}, bounds).limits}
    assert (rows["longest job"].planned, rows["longest job"].is_within) == ("11s", True)
    largest = rows["largest payload of a job"]
    assert (largest.planned, largest.is_within) == ("3.0 kB", False)


def test_each_backend_of_a_sweep_has_rows_and_bounds_of_its_own() -> None:
    lanes = [
        Lane("a", frozenset([0, 1]), 10),
        Lane("b", frozenset([2]), 20),
        Lane("c", frozenset()),
    ]
    table = plan_table(SWEEP, 10, {}, lanes=lanes)
    assert [(row.label, row.points, row.jobs) for row in table.workloads] == [
        ("main on a", 2, 2),
        ("extra on a", 1, 1),
        ("main on b", 1, 1),
    ]
    assert [(row.what, row.planned, row.bound, row.is_within) for row in table.limits] == [
        ("all jobs on a, declared", "16s", "10s", False),
        ("all jobs on b, declared", "5.0s", "20s", True),
    ]


def test_the_budget_and_what_the_account_has_left_stand_beside_the_prediction() -> None:
    usages = (
        InstanceUsage("open", 580.0, 20.0, frozenset([0, 1])),
        InstanceUsage("premium", 0.5, None, frozenset([2])),
        InstanceUsage("silent", points=frozenset([2])),
    )
    table = plan_table(replace(SWEEP, instances=usages), None, {}, budget_s=20)
    assert [(row.cells()[1:]) for row in table.limits[1:]] == [
        ("21s", "20s", "over", "budget.qpu"),
        ("16s", "20s", "ok", "the account, 9m 40s used"),
        ("5.0s", "no limit", "ok", "the account, 0.5s used"),
        ("5.0s", "not known", "ok", "the account"),
    ]
    assert [row.what for row in table.limits[1:3]] == [
        "all jobs, budget",
        "all jobs, instance open",
    ]
