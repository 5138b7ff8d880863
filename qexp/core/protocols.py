"""What an engine is. There are two kinds, IBM's Batch and the embedded one, behind one face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from qexp.core.model import FoundJob, JobOutcome, JobRequest, JobState, PrimitiveSpec

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub
    from qexp.workers import Workers


@runtime_checkable
class Batch(Protocol):
    """One open batch. `close` is idempotent and is called on every way out."""

    @property
    def id(self) -> str:
        """The batch's id: known from the moment it is open."""
        ...

    def details(self) -> dict[str, Any]:
        """All fields of `qiskit_ibm_runtime.Batch.details()`, fresh at every call."""
        ...

    def submit(self, request: JobRequest) -> str:
        """Submit one job and return its id.

        Raises:
            RefusedError: The job can never run as it is. It does not exist.
            BusyError: Not now; later perhaps. It does not exist.
            BatchOverError: This batch takes no more jobs. It does not exist.
            UnclearError: It may exist: look it up with `find` before sending it again.
            EngineError: It does not exist, and neither would any other (quota, authorisation).
        """
        ...

    def find(self, tag: str) -> Sequence[FoundJob]:
        """Every job of this account that carries `tag`, oldest first.

        Raises:
            EngineError: The service could not be asked.
        """
        ...

    def adopt(self, job_id: str, request: JobRequest) -> None:
        """Take a job of this batch that was submitted earlier as if it had been submitted now.

        Raises:
            LostJobError: The service does not know it.
            EngineError: The service could not be asked.
        """
        ...

    def strays(self) -> Sequence[FoundJob]:
        """Jobs of this batch in the last listing that were neither submitted nor adopted here."""
        ...

    def cancel_job(self, job_id: str) -> None:
        """Cancel one job; harmless when it has ended.

        Raises:
            EngineError: The service could not be asked.
        """
        ...

    def cancel(self) -> None:
        """Close, and cancel every job that has not started to run."""
        ...

    def close(self) -> None:
        """Accept no more jobs; what is submitted still runs."""
        ...

    def abandon(self) -> None:
        """Close, and stop what would end with this process; a service's jobs are left alone."""
        ...

    def queue_length(self) -> int | None:
        """Jobs of all users that wait for the backend, by one request; None: it has no queue."""
        ...

    def states(self) -> Mapping[str, JobState]:
        """The state of every submitted or adopted job, by id, at the cost of one request."""
        ...

    def wait(self, timeout_s: float, is_stopped: Callable[[], bool]) -> None:
        """Return when a state may have changed, at the latest after `timeout_s`.

        Args:
            timeout_s: Seconds.
            is_stopped: Asked several times a second; returns as soon as it says True.
        """
        ...

    def collect(self, job_id: str) -> JobOutcome:
        """Fetch a job that is in a final state. A failed job is an outcome, not an exception.

        Raises:
            UndeliveredError: The job is DONE, but what was delivered is not its result.
            EngineError: The service could not be asked. Both times it can be repeated.
        """
        ...


@runtime_checkable
class Engine(Protocol):
    """Runs jobs in a batch.

    An engine is constructed from its config node (`conf/engine`), without importing Qiskit.
    """

    @property
    def name(self) -> str:
        """`"local"`, `"runtime-local"` or `"ibm"`."""
        ...

    @property
    def allow_ignored_options(self) -> bool:
        """Whether a declared option that this engine does not honour is tolerated."""
        ...

    @property
    def uses_qpu(self) -> bool:
        """Whether a job costs time on a QPU, so that limits of a plan or account matter."""
        ...

    @property
    def workers(self) -> int | None:
        """Worker processes for planning and simulation; 1: none; None: as many as cores."""
        ...

    @property
    def jobs_outlive_process(self) -> bool:
        """Whether submitted jobs go on when this process ends, so that they can be adopted."""
        ...

    def unhonoured(self, primitive: PrimitiveSpec) -> dict[str, Any]:
        """Declared options (dotted path -> value) that would have no effect on this engine."""
        ...

    def check_backend(self, backend: BackendV2) -> None:
        """Raise `ConfigError` if this engine cannot run on `backend`."""
        ...

    def pub_objection(self, backend: BackendV2) -> Callable[[Pub], str | None]:
        """What says why this engine cannot run an ISA PUB on `backend`; None if it can.

        For what neither the backend's target nor IBM's limits tell. It is said of the circuit, as
        in "it has a switch", and made once for all PUBs of a plan.
        """
        ...

    def payload_bytes(
        self, primitive: PrimitiveSpec, pub: Pub, backend: BackendV2, qpy: bytes
    ) -> int:
        """Size of one encoded ISA PUB on the wire, measured, in bytes.

        `qpy` is the PUB's circuit as the archive has it, so that it need not be encoded again.
        """
        ...

    def open_batch(
        self, backend: BackendV2, *, max_time_s: int | None, workers: Workers | None = None
    ) -> Batch:
        """Open a batch: the one of a run, or one that follows it."""
        ...

    def attach_batch(self, backend: BackendV2, batch_id: str) -> Batch:
        """An earlier batch, to adopt and collect its jobs; it takes no new ones.

        Asks nothing of the service.
        """
        ...
