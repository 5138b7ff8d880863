"""Engines and their batches: what every engine has, and what a service adds to it.

A service's jobs outlive the process that submits them, so that they can be found and adopted by
another one: such an engine is a `RemoteEngine`, and its batches are each a `RemoteBatch`. The jobs
of any other engine end with their process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from qexp.core.model import (
    Forecast,
    FoundJob,
    InstanceUsage,
    JobOutcome,
    JobRequest,
    JobState,
    PayloadBytes,
    PrimitiveSpec,
    Progress,
)

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub
    from qexp.workers import Workers


@runtime_checkable
class Batch(Protocol):
    """An open batch. `close` can be repeated, and is called on every way out."""

    @property
    def id(self) -> str:
        """The batch's id, known from the moment it is open."""

    def details(self) -> dict[str, Any]:
        """Return all fields of `qiskit_ibm_runtime.Batch.details()`, fresh at every call."""

    def submit(self, request: JobRequest) -> str:
        """Submit a job and return its id.

        Raises:
            RefusedError: The job can never run as it is. It does not exist.
            BusyError: Not now, perhaps later. It does not exist.
            BatchOverError: This batch takes no more jobs. It does not exist.
            UnclearError: It may exist; look it up with `RemoteBatch.find` before sending it again.
            EngineError: It does not exist, and no other job would be taken (quota, authorisation).
        """

    def cancel(self) -> None:
        """Close the batch, and cancel every job that has not started to run."""

    def close(self) -> None:
        """Accept no more jobs; submitted ones still run."""

    def abandon(self) -> None:
        """Close the batch and terminate local jobs; remote jobs keep running."""

    def states(self) -> Mapping[str, JobState]:
        """Return job id -> state of every submitted or adopted job, by one request."""

    def wait(self, timeout_s: float, is_stopped: Callable[[], bool]) -> None:
        """Return when a state may have changed, at the latest after `timeout_s`.

        `is_stopped` is asked several times a second; this returns as soon as it is True.
        """

    def collect(self, job_id: str) -> JobOutcome:
        """Fetch a job that is in a final state. A failed job is an outcome, not an exception.

        Raises:
            UndeliveredError: The job is DONE, but what was delivered is not its result.
            LostJobError: Neither the listing nor a look-up has the job.
            EngineError: The service could not be asked. In all cases it can be repeated.
        """


@runtime_checkable
class SimulatedBatch(Batch, Protocol):
    """A batch on this machine, which knows how far its jobs are; `wait` returns when they move."""

    def progress(self) -> Progress:
        """Return how far its jobs are."""


@runtime_checkable
class RemoteBatch(Batch, Protocol):
    """A batch of a service, whose jobs outlive the process that submits them."""

    def find(self, tag: str) -> Sequence[FoundJob]:
        """Return every job of this account that carries `tag`, oldest first.

        Raises:
            EngineError: The service could not be asked.
        """

    def adopt(self, job_id: str, request: JobRequest) -> None:
        """Take a job that another process submitted as if this one had done it.

        Asks nothing of the service; `states` does, and `collect` says if it does not know the job.
        """

    def strays(self) -> Sequence[FoundJob]:
        """Return the jobs in the last listing that were neither submitted nor adopted here."""

    def cancel_job(self, job_id: str) -> None:
        """Cancel a job; harmless when it has ended.

        Raises:
            EngineError: The service could not be asked.
        """

    def queue_length(self) -> int | None:
        """Return how many jobs of all users wait for the backend, by one request; None: unknown."""


@runtime_checkable
class Engine(Protocol):
    """Runs jobs in a batch.

    An engine is constructed from its config node (`conf/engine`), without importing Qiskit.
    """

    @property
    def name(self) -> str:
        """`"local"`, `"runtime-local"` or `"ibm"`."""

    @property
    def allow_ignored_options(self) -> bool:
        """True if a declared option that this engine does not honour is tolerated."""

    @property
    def uses_qpu(self) -> bool:
        """True if a job costs time on a QPU, so that limits of a plan or account matter."""

    @property
    def workers(self) -> int | None:
        """Worker processes for planning and simulation; 1: none; None: as many as cores."""

    def ignored_options(self, primitive: PrimitiveSpec) -> dict[str, Any]:
        """Return the declared options (dotted path -> value) that this engine would ignore."""

    def check_backend(self, backend: BackendV2) -> None:
        """Raise `ConfigError` if this engine cannot run on `backend`."""

    def pub_objection(
        self, backend: BackendV2, primitive: PrimitiveSpec
    ) -> Callable[[Pub], str | None]:
        """Return a function that says why a primitive cannot run an ISA PUB here; None if it can.

        For reasons beyond the backend's target and IBM's limits. The reason is said of the
        circuit, as in "it has a switch". The function serves all PUBs of a workload.
        """

    def payload_bytes(
        self,
        primitive: PrimitiveSpec,
        pub: Pub,
        backend: BackendV2,
        qpy: bytes,
        bound_bytes: float,
    ) -> PayloadBytes:
        """Measure or estimate the size of an encoded ISA PUB on the wire, in bytes.

        An estimate is rather too large, and at most `bound_bytes`.

        Args:
            primitive: The primitive that will run it.
            pub: The PUB.
            backend: The backend that it is for.
            qpy: Its circuit as the archive has it, so that it need not be encoded again.
            bound_bytes: The most that a job may have.
        """

    def open_batch(
        self, backend: BackendV2, *, max_time_s: int | None, workers: Workers | None = None
    ) -> Batch:
        """Open a batch that lives for `max_time_s`; None: for the longest time that is allowed.

        An engine that simulates does so in `workers`; None: it has its own.
        """


@runtime_checkable
class SimulatingEngine(Engine, Protocol):
    """Simulates on this machine, in a time that it can predict."""

    @property
    def cores(self) -> int:
        """Number of cores that it uses."""

    @property
    def max_time_s(self) -> int | None:
        """The longest time that a point may be predicted to take, in seconds, or None."""

    def unbounded(self) -> Engine:
        """Return the same engine without a bound of the time."""

    def forecast(self, backend: BackendV2, primitive: PrimitiveSpec) -> Callable[[Pub], Forecast]:
        """Return a function that predicts the simulation of an ISA PUB."""


@runtime_checkable
class MeteredEngine(Engine, Protocol):
    """Charges QPU time to instances of an account."""

    def instance(self, backend: BackendV2) -> str:
        """Return the name of a backend's instance, empty if it has none; asks nothing."""

    def read_usage(self, backend: BackendV2) -> InstanceUsage:
        """Return the QPU time that a backend's instance has used, and what is left of it.

        Raises:
            EngineError: The service could not be asked.
        """


@runtime_checkable
class RemoteEngine(Engine, Protocol):
    """Runs jobs on a service that keeps them when this process ends."""

    def attach_batch(self, backend: BackendV2, batch_id: str) -> RemoteBatch:
        """Return an earlier batch, to adopt and collect its jobs; it takes no new ones.

        Asks nothing of the service.
        """

    def find_jobs(self, backend: BackendV2, tag: str) -> Sequence[FoundJob]:
        """Return every job of this account, in all of its instances, that carries `tag`.

        Oldest first, and without a batch.

        Raises:
            EngineError: The service could not be asked.
        """

    def read_metrics(self, backend: BackendV2, job_id: str) -> Mapping[str, Any]:
        """Return the metrics of a job (see `JobOutcome.metrics`); empty if there are none.

        Raises:
            EngineError: The service could not be asked.
        """

    def limit_waiting(self, backend: BackendV2, outage_s: float) -> None:
        """Limit the time of every request to a fraction of `execution.outage`, from now on.

        So that is an upper bound, too.
        """
