"""The engines under contract. A new engine is one more entry in `ENGINE_CASES`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pytest
    from qiskit.providers import BackendV2

    from qexp.core.model import FailureKind, JobRequest
    from qexp.core.protocols import Batch, Engine
    from tests.contract.bench import Bench

FAILURE = "the fridge is warm"


def _fail_while_loading(job: JobRequest, fixtures: pytest.FixtureRequest) -> JobRequest:
    def load_pubs() -> Any:
        raise RuntimeError(FAILURE)

    return replace(job, load_pubs=load_pubs)


@contextmanager
def _occupy(bench: Bench, batch: Batch) -> Iterator[None]:
    """Let the one job that runs at a time be one that waits."""
    running, go_on = threading.Event(), threading.Event()
    job = bench.job(1000)

    def load_pubs() -> Any:
        running.set()
        go_on.wait()
        return job.load_pubs()

    batch.submit(replace(job, load_pubs=load_pubs))
    running.wait()
    try:
        yield
    finally:
        go_on.set()


def _put_clock_forward(batch: Batch, fixtures: pytest.FixtureRequest) -> None:
    local = cast("Any", batch)
    now = local._clock
    local._clock = lambda: now() + 1e6


def _as_it_is(engine: Engine) -> Engine:
    return engine


@dataclass(frozen=True)
class EngineCase:
    """One engine, as the suite uses it.

    Attributes:
        name: The engine's name.
        make_engine: Makes it; imports it only then.
        make_backend: Makes a noisy 5-qubit backend for it.
        fixtures: Pytest fixtures that it needs.
        doom: Sees to it that this job fails with a reason that contains `FAILURE`, and returns
            the job to submit.
        doomed: The kind of that failure.
        hold: While it lasts, no job of the batch starts.
        expire: Lets `max_time` of a batch pass; called while it is held.
        is_remote: Whether its jobs outlive the process that submits them.
        patient: The engine, if need be with a `wait` that does not end early of its own accord.
    """

    name: str
    make_engine: Callable[[], Engine]
    make_backend: Callable[[], BackendV2]
    fixtures: tuple[str, ...] = ()
    doom: Callable[[JobRequest, pytest.FixtureRequest], JobRequest] = _fail_while_loading
    doomed: FailureKind = "internal"
    hold: Callable[[Bench, Batch], AbstractContextManager[None]] = _occupy
    expire: Callable[[Batch, pytest.FixtureRequest], None] = _put_clock_forward
    is_remote: bool = False
    patient: Callable[[Engine], Engine] = _as_it_is


def _fail_on_the_service(job: JobRequest, fixtures: pytest.FixtureRequest) -> JobRequest:
    fixtures.getfixturevalue("ibm_emulator").fail_next_job(FAILURE, 1500)
    return job


@contextmanager
def _hold_the_queue(bench: Bench, batch: Batch) -> Iterator[None]:
    emulator = bench.fixtures.getfixturevalue("ibm_emulator")
    emulator.hold()
    try:
        yield
    finally:
        emulator.release()


def _expire_session(batch: Batch, fixtures: pytest.FixtureRequest) -> None:
    fixtures.getfixturevalue("ibm_emulator").expire_session(batch.id)


def _poll_rarely(engine: Engine) -> Engine:
    return cast("Engine", replace(cast("Any", engine), poll_interval_s=600.0))


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
    EngineCase("runtime-local", _runtime_local, _fake),
    EngineCase(
        name="ibm",
        make_engine=_ibm,
        make_backend=_emulated,
        fixtures=("ibm_emulator",),
        doom=_fail_on_the_service,
        doomed="transient",
        hold=_hold_the_queue,
        expire=_expire_session,
        is_remote=True,
        patient=_poll_rarely,
    ),
)
REMOTE_CASES = tuple(case for case in ENGINE_CASES if case.is_remote)
