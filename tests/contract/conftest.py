from __future__ import annotations

import pytest

from qexp.core.model import Implementation
from tests.contract.bench import Bench, bench_of
from tests.contract.engine_cases import ENGINE_CASES, EngineCase


@pytest.fixture(params=ENGINE_CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> EngineCase:
    return prepared(request)


def prepared(request: pytest.FixtureRequest) -> EngineCase:
    """The case of a parameter, with the fixtures that it needs."""
    found: EngineCase = request.param
    for name in found.fixtures:
        request.getfixturevalue(name)
    return found


@pytest.fixture(params=["client", "legacy"])
def implementation(request: pytest.FixtureRequest) -> Implementation:
    chosen: Implementation = request.param
    return chosen


@pytest.fixture
def sampler(
    case: EngineCase, implementation: Implementation, request: pytest.FixtureRequest
) -> Bench:
    return bench_of(case, "sampler", implementation, request)


@pytest.fixture
def estimator(
    case: EngineCase, implementation: Implementation, request: pytest.FixtureRequest
) -> Bench:
    return bench_of(case, "estimator", implementation, request)


@pytest.fixture(params=["sampler", "estimator"])
def bench(
    case: EngineCase, implementation: Implementation, request: pytest.FixtureRequest
) -> Bench:
    return bench_of(case, request.param, implementation, request)


@pytest.fixture(params=[("sampler", "client"), ("estimator", "legacy")], ids="-".join)
def batching(case: EngineCase, request: pytest.FixtureRequest) -> Bench:
    """One case of each kind and implementation, for behaviour that no primitive changes."""
    kind, implementation = request.param
    return bench_of(case, kind, implementation, request)
