from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.core.bounds import Bound, JobBounds, job_bounds
from qexp.core.model import Partition, PrimitiveSpec
from qexp.core.spec import Limit, PartitionLimits
from qexp.errors import PlanError
from qexp.planning.cost import Footprint, Shared
from qexp.planning.partition import Cutter

ONE = Footprint(
    shots=100,
    precision=None,
    executions=100,
    payload_bytes=1000,
    qpu_s=0.5,
    control_instructions=10,
)

SAMPLER = PrimitiveSpec("sampler")
TENS = job_bounds(SAMPLER, PartitionLimits(max_circuits=10), {})

# Each PUB alone is within the smallest limit drawn below.
FOOTPRINTS = st.builds(
    Footprint,
    shots=st.sampled_from([100, 200, None]),
    precision=st.sampled_from([None, 0.1]),
    executions=st.integers(1, 10),
    payload_bytes=st.integers(1, 10),
    qpu_s=st.integers(1, 10).map(float),
    control_instructions=st.integers(0, 10),
    shared=st.builds(Shared, st.integers(0, 1), st.integers(0, 1), st.integers(0, 1).map(float)),
)
BOUND = st.none() | st.integers(10, 30)
LIMITS = st.builds(
    PartitionLimits,
    max_circuits=st.none() | st.integers(1, 5),
    max_executions=BOUND,
    max_payload_bytes=BOUND,
    max_qpu_s=st.none() | st.integers(12, 30).map(float),
    max_control_instructions=BOUND,
    job_overhead_s=st.just(2.0),
)


def cut_into_jobs(
    items: Iterable[tuple[Any, Footprint]], bounds: JobBounds, first_index: int = 0
) -> Iterator[tuple[Partition, list[Any]]]:
    """Cut PUBs as they come."""
    done: list[tuple[Partition, list[Any]]] = []
    cutter = Cutter[Any](
        "main", bounds, first_index, lambda job, members: done.append((job, members))
    )
    for item, footprint in items:
        cutter.add(item, footprint)
        del item
        while done:
            yield done.pop()
    cutter.close()
    yield from done


def cut(
    footprints: list[Footprint], limits: PartitionLimits, first_index: int = 0
) -> list[tuple[Partition, list[int]]]:
    bounds = job_bounds(SAMPLER, limits, {})
    return list(cut_into_jobs(enumerate(footprints), bounds, first_index))


def amounts(members: list[Footprint], limits: PartitionLimits) -> dict[str, float]:
    def total(name: str) -> float:
        shared = [getattr(one.shared, name) for one in members]
        return sum(getattr(one, name) for one in members) - sum(shared) + max(shared)

    return {
        "max_circuits": len(members),
        "max_executions": total("executions"),
        "max_payload_bytes": total("payload_bytes"),
        "max_qpu_s": limits.job_overhead_s + total("qpu_s"),
        "max_control_instructions": sum(one.control_instructions for one in members),
    }


@given(st.lists(FOOTPRINTS, max_size=40), LIMITS, st.integers(0, 5))
def test_every_pub_is_in_exactly_one_job_and_in_order(
    footprints: list[Footprint], limits: PartitionLimits, first_index: int
) -> None:
    jobs = cut(footprints, limits, first_index)
    assert [item for _, members in jobs for item in members] == list(range(len(footprints)))
    assert [job.index for job, _ in jobs] == list(range(first_index, first_index + len(jobs)))
    assert all(list(range(job.first, job.stop)) == members for job, members in jobs)
    assert all(job.num_pubs >= 1 for job, _ in jobs)


@given(st.lists(FOOTPRINTS, max_size=40), LIMITS)
def test_no_job_is_over_a_limit_and_its_sums_are_right(
    footprints: list[Footprint], limits: PartitionLimits
) -> None:
    for job, members in cut(footprints, limits):
        of_job = [footprints[item] for item in members]
        total = amounts(of_job, limits)
        assert {(one.shots, one.precision) for one in of_job} == {(job.shots, job.precision)}
        assert (job.executions, job.payload_bytes, job.qpu_s) == (
            total["max_executions"],
            total["max_payload_bytes"],
            total["max_qpu_s"],
        )
        for name, amount in total.items():
            bound = getattr(limits, name)
            assert bound is None or amount <= bound


@given(st.lists(FOOTPRINTS, min_size=1, max_size=40), LIMITS)
def test_a_job_ends_only_where_the_next_pub_does_not_fit(
    footprints: list[Footprint], limits: PartitionLimits
) -> None:
    jobs = cut(footprints, limits)
    for (job, members), _ in pairwise(jobs):
        following = footprints[job.stop]
        if job.closed_by in {"shots", "precision"}:
            assert getattr(following, job.closed_by) != getattr(job, job.closed_by)
        else:
            grown = [footprints[item] for item in members] + [following]
            assert amounts(grown, limits)[job.closed_by] > getattr(limits, job.closed_by)
    assert jobs[-1][0].closed_by == "end"


@pytest.mark.parametrize(
    ("limits", "closed_by"),
    [
        (PartitionLimits(max_circuits=2), "max_circuits"),
        (PartitionLimits(max_executions=250), "max_executions"),
        (PartitionLimits(max_payload_bytes=2999), "max_payload_bytes"),
        (PartitionLimits(max_qpu_s=3.0), "max_qpu_s"),
        (PartitionLimits(max_control_instructions=25), "max_control_instructions"),
    ],
)
def test_whichever_limit_binds_first_closes_the_job(
    limits: PartitionLimits, closed_by: str
) -> None:
    jobs = [job for job, _ in cut([ONE] * 5, limits)]
    assert [(job.first, job.stop) for job in jobs] == [(0, 2), (2, 4), (4, 5)]
    assert [job.closed_by for job in jobs] == [closed_by, closed_by, "end"]


def test_a_job_has_one_shots_value_and_one_precision() -> None:
    other_shots = replace(ONE, shots=200)
    precise = replace(ONE, shots=None, precision=0.1)
    more_precise = replace(precise, precision=0.01)
    jobs = [job for job, _ in cut([ONE, other_shots, precise, more_precise], PartitionLimits())]
    assert [job.closed_by for job in jobs] == ["shots", "shots", "precision", "end"]
    assert [job.shots for job in jobs] == [100, 200, None, None]
    assert [job.precision for job in jobs] == [None, None, 0.1, 0.01]


def test_nothing_gives_no_job() -> None:
    assert cut([], PartitionLimits()) == []


@pytest.mark.parametrize(
    ("name", "bound", "amount"),
    [
        ("max_executions", 99, "100"),
        ("max_payload_bytes", 999, "1000"),
        ("max_qpu_s", 2.4, "2.5"),
        ("max_control_instructions", 9, "10"),
    ],
)
def test_a_pub_too_large_for_any_job_is_named(name: str, bound: float, amount: str) -> None:
    small = replace(ONE, executions=1, payload_bytes=1, qpu_s=0.1, control_instructions=1)
    knobs: dict[str, Any] = {name: bound}
    limits = PartitionLimits(**knobs)
    with pytest.raises(PlanError) as caught:
        cut([small, ONE], limits)
    message = str(caught.value)
    assert message.startswith(f"PUB 1 of workload 'main' alone takes {amount} ")
    assert f"{bound} that partition.{name} allows" in message
    assert f"or raise partition.{name}" in message
    assert "\n" not in message


def test_a_limit_of_the_service_cannot_be_raised() -> None:
    limits = {"sampler_executions_per_job": Limit(99, "somewhere", "2026-01-01")}
    bounds = job_bounds(SAMPLER, PartitionLimits(max_executions=100), limits)
    with pytest.raises(PlanError, match=r"limits\.sampler_executions_per_job allows") as caught:
        list(cut_into_jobs([(0, ONE)], bounds))
    assert "raise" not in str(caught.value)


def test_an_endless_stream_is_cut_as_it_comes() -> None:
    taken: list[int] = []

    def endless() -> Iterator[tuple[int, Footprint]]:
        for k in count():
            taken.append(k)
            yield k, ONE

    jobs = cut_into_jobs(endless(), TENS)
    assert next(jobs)[1] == list(range(10))
    assert len(taken) == 11


class Item:
    """Something that can be weakly referred to."""


def test_only_the_open_job_is_held() -> None:
    alive: weakref.WeakSet[Item] = weakref.WeakSet()

    def items() -> Iterator[tuple[Item, Footprint]]:
        for _ in range(100):
            item = Item()
            alive.add(item)
            yield item, ONE

    held = [len(alive) for _job, _members in cut_into_jobs(items(), TENS)]
    # The job that the loop still names, the one just closed, and the PUB after it.
    assert max(held) <= 21


def test_the_smaller_of_knob_and_service_binds(service_limits: dict[str, Limit]) -> None:
    knobs = PartitionLimits(max_circuits=7, max_executions=20_000_000, max_payload_bytes=1000)
    bounds = job_bounds(SAMPLER, knobs, service_limits)
    assert bounds.overhead_s == 2
    assert bounds.by_dimension == {
        "max_circuits": Bound(7, "partition.max_circuits"),
        "max_executions": Bound(10_000_000, "limits.sampler_executions_per_job"),
        "max_payload_bytes": Bound(1000, "partition.max_payload_bytes"),
        "max_qpu_s": Bound(10800, "limits.job_qpu_s"),
        "max_control_instructions": Bound(
            26_800_000, "limits.control_instructions_per_qubit_and_job"
        ),
    }
    of_estimator = job_bounds(PrimitiveSpec("estimator"), knobs, service_limits).by_dimension
    assert of_estimator["max_executions"] == Bound(20_000_000, "partition.max_executions")
    by_default = job_bounds(SAMPLER, PartitionLimits(), {}).by_dimension
    assert by_default == {"max_circuits": Bound(100, "partition.max_circuits")}


def test_max_execution_time_bounds_a_job(service_limits: dict[str, Limit]) -> None:
    primitive = PrimitiveSpec("sampler", options={"max_execution_time": 60})
    bounds = job_bounds(primitive, PartitionLimits(), service_limits).by_dimension
    assert bounds["max_qpu_s"] == Bound(60, "primitive.options.max_execution_time")
