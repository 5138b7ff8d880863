"""The engines under contract. A new engine is one more entry in `ENGINE_CASES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest
    from qiskit.providers import BackendV2

    from qexp.core.model import JobRequest
    from qexp.core.protocols import Engine

FAILURE = "the fridge is warm"


def _fail_while_loading(job: JobRequest, fixtures: pytest.FixtureRequest) -> JobRequest:
    def load_pubs() -> Any:
        raise RuntimeError(FAILURE)

    return replace(job, load_pubs=load_pubs)


@dataclass(frozen=True)
class EngineCase:
    """How the suite gets at one engine.

    Attributes:
        name: The engine's name.
        make_engine: Makes it; imports it only then.
        make_backend: Makes a noisy 5-qubit backend for it.
        fixtures: Pytest fixtures that it needs.
        doom: Sees to it that this job fails with a reason that contains `FAILURE`, and returns
            the job to submit.
    """

    name: str
    make_engine: Callable[[], Engine]
    make_backend: Callable[[], BackendV2]
    fixtures: tuple[str, ...] = ()
    doom: Callable[[JobRequest, pytest.FixtureRequest], JobRequest] = _fail_while_loading


def _fail_on_the_service(job: JobRequest, fixtures: pytest.FixtureRequest) -> JobRequest:
    fixtures.getfixturevalue("ibm_emulator").fail_next_job(FAILURE, 1500)
    return job


def _local() -> Engine:
    from qexp.engines.local.engine import LocalEngine

    return LocalEngine()


def _runtime_local() -> Engine:
    from qexp.engines.runtime_local import RuntimeLocalEngine

    return RuntimeLocalEngine()


def _ibm() -> Engine:
    from qexp.engines.ibm.engine import IBMEngine

    return IBMEngine(poll_interval_s=0.02)


def _fake() -> BackendV2:
    from qexp.engines.local.backends import fake

    return fake("FakeManilaV2")


def _emulated() -> BackendV2:
    from qexp.engines.ibm.select import named
    from tests.emulator import MANILA

    return named(name=MANILA)


ENGINE_CASES = (
    EngineCase("local", _local, _fake),
    EngineCase("runtime_local", _runtime_local, _fake),
    EngineCase("ibm", _ibm, _emulated, ("ibm_emulator",), _fail_on_the_service),
)
