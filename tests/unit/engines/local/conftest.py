from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.engines.local.stand_ins import Clock, Simulator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    simulator = Simulator()
    yield simulator
    simulator.gate.release(1000)
