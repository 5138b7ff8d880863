from __future__ import annotations

import pytest

from qexp.core.model import Partition, Plan
from qexp.core.spec import Limit, PartitionLimits
from qexp.planning.table import HEADERS, plan_table
from qexp.text import format_bytes

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
    told = {row.source: (row.planned, row.bound, row.is_within) for row in table.limits}
    assert told == {
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


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (48_200_000, "48.2 MB"), (10**15, "1000.0 TB")],
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert format_bytes(size) == text


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
