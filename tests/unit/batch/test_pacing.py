from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.batch.pacing import Backoff, Pace, Patience
from qexp.core.spec import ExecutionPolicy
from qexp.errors import OutageError
from tests.unit.batch.service import FakeTime, MemoryStore, Process, Service


@given(jitter=st.floats(0, 1, exclude_max=True), count=st.integers(1, 2000))
def test_delays_grow_to_the_longest_and_never_beyond(jitter: float, count: int):
    backoff = Backoff(lambda: jitter)
    delays = [backoff.next_s() for _ in range(count)]
    assert all(earlier <= later for earlier, later in pairwise(delays))
    assert 0.5 <= delays[0] <= 1.0
    assert delays[-1] <= 60.0


def test_delays_start_again_after_a_success():
    backoff = Backoff(lambda: 0.0)
    first = backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == first


def test_nothing_delays_jobs_that_are_all_taken():
    pace = Pace(lambda: 0.5)
    for now_s in range(5):
        assert pace.delay_s(now_s) == 0.0
        pace.accepted(now_s)


def test_a_fixed_pace_is_kept():
    pace = Pace(lambda: 0.5, fixed_s=12.0)
    pace.accepted(100.0)
    assert pace.delay_s(100.0) == 12.0
    assert pace.delay_s(105.0) == 7.0
    assert pace.delay_s(112.0) == 0.0


def test_the_delay_that_the_service_names_is_kept():
    pace = Pace(lambda: 0.5)
    assert pace.refused(10.0, 30.0) == 30.0
    assert pace.delay_s(10.0) == 30.0


def simulated_s(rate_per_s: float, burst: int, jobs: int) -> tuple[float, int]:
    """Submit to a token bucket: how long it takes, and how many requests are refused."""
    pace, now_s, tokens, last_s, refused = Pace(lambda: 0.5), 0.0, float(burst), 0.0, 0
    for _ in range(jobs):
        now_s += pace.delay_s(now_s)
        while True:
            tokens, last_s = min(burst, tokens + (now_s - last_s) * rate_per_s), now_s
            if tokens >= 1:
                break
            refused += 1
            now_s += pace.refused(now_s)
        tokens -= 1
        pace.accepted(now_s)
    return now_s, refused


def test_a_limited_service_is_used_to_most_of_its_limit():
    # Five a minute, as IBM's published limit is.
    taken_s, refused = simulated_s(5 / 60, burst=5, jobs=50)
    assert taken_s <= 1.5 * 45 * 12
    assert refused <= 3 * 50


def tries_s(tmp_path: Path, outage_s: float, request_s: float) -> list[float]:
    """When the requests to a service that is out of reach begin, each of which takes a time."""
    time = FakeTime()
    service = Service(time=time)
    policy = ExecutionPolicy(outage_s=outage_s)
    experiment = Process(tmp_path, service, MemoryStore(), policy=policy).experiment()
    began_s: list[float] = []

    def request() -> None:
        began_s.append(time.now_s)
        time.now_s += request_s
        raise OutageError("nobody there")

    with pytest.raises(OutageError):
        Patience(experiment).call(request)
    return began_s


@pytest.mark.parametrize("request_s", [0.0, 3.0, 30.0])
@pytest.mark.parametrize("outage_s", [15.0, 60.0, 900.0])
def test_an_outage_is_borne_for_as_long_as_was_asked_for_and_no_longer(
    tmp_path: Path, outage_s: float, request_s: float
):
    began_s = tries_s(tmp_path, outage_s, request_s)
    assert began_s[-1] <= outage_s + 1e-6
    # No answer so far, and no time left for another question.
    assert began_s[-1] + request_s >= outage_s - 1e-6


def test_without_an_outage_nothing_is_asked_twice(tmp_path: Path):
    assert tries_s(tmp_path, 0.0, 0.0) == [0.0]


def test_a_question_that_was_answered_takes_none_of_the_next_ones_patience(tmp_path: Path):
    time = FakeTime()
    policy = ExecutionPolicy(outage_s=10.0)
    process = Process(tmp_path, Service(time=time), MemoryStore(), policy=policy)
    patience = Patience(process.experiment())
    assert patience.call(lambda: 1) == 1
    time.now_s += 1000.0
    answers: list[Exception | int] = [OutageError("gone"), 2]

    def request() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patience.call(request) == 2
