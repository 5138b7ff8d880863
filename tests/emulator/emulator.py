"""The emulator as tests see it."""

from __future__ import annotations

import importlib
import os
import tempfile
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

from tests.emulator.discovery import INSTANCE, TOKEN
from tests.emulator.server import Fault, Journal, Server
from tests.emulator.worker import Queue

if TYPE_CHECKING:
    from tests.emulator.simulate import Truth

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
EVERY_PROXY_VARIABLE = (*PROXY_VARIABLES, *(name.lower() for name in PROXY_VARIABLES))


class IBMEmulator:
    """IBM's REST API on the loopback interface, for the unmodified `QiskitRuntimeService`.

    Use it as a context manager.

    Attributes:
        journal: Every request, in order.
        faults: Callables `(method, path) -> Response | None`, asked before the routes in this
            order; the first reply is sent instead of the real one.
    """

    def __init__(self) -> None:
        # The allocator in Qiskit 2.6 takes the thread that first imports Qiskit for the main one,
        # and once that has ended, the process crashes. So not first in one of our own threads.
        importlib.import_module("qiskit")
        self.journal = Journal()
        self.faults: list[Fault] = []
        self._queue = Queue()
        self._server = Server(self._queue, self.journal, self.faults)
        self._home = tempfile.TemporaryDirectory(prefix="emulated-home-")
        self.hold = self._queue.hold
        self.release = self._queue.release
        self.fail_next_job = self._queue.fail_next_job
        self.expire_session = self._queue.expire_session
        self.wait_until_idle = self._queue.wait_until_idle

    def __enter__(self) -> Self:
        self._queue.start()
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.stop()
        self._server.stop()
        self._home.cleanup()

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:43210`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def results(self) -> dict[str, Truth]:
        """What completed jobs measured, by job id; see `tests.emulator.programs.Outcome`."""
        return self._queue.results

    @property
    def job_ids(self) -> list[str]:
        """Ids of all jobs in order of submission."""
        return [job.id for job in self._queue.all_jobs()]

    @property
    def session_ids(self) -> list[str]:
        """Ids of all sessions in order of opening."""
        return list(self._queue.sessions)

    @property
    def env(self) -> dict[str, str]:
        """Environment variables, to be laid over `os.environ`, that lead the client here.

        The word "experimental" in the URL keeps the client from computing IBM's own address, and
        `QISKIT_FUNCTIONS_EXPERIMENTAL` keeps it from looking instances up.
        """
        return {
            "QISKIT_IBM_TOKEN": TOKEN,
            "QISKIT_IBM_INSTANCE": INSTANCE,
            "QISKIT_IBM_URL": f"{self.url}/experimental",
            "QISKIT_FUNCTIONS_EXPERIMENTAL": "1",
            **self._common_env("127.0.0.1,localhost"),
            **dict.fromkeys(EVERY_PROXY_VARIABLE, ""),
            "IAM_URL": self.url,
        }

    @property
    def proxy_env(self) -> dict[str, str]:
        """The same with the emulator as HTTP proxy, so that the client also discovers instances.

        Global search, global catalog and instance names (`discovery.INSTANCE_NAME`) work only so.
        """
        return {
            "QISKIT_IBM_TOKEN": TOKEN,
            "QISKIT_IBM_INSTANCE": "auto",
            "QISKIT_IBM_URL": "http://cloud.emulated.test",
            "QISKIT_FUNCTIONS_EXPERIMENTAL": "",
            **self._common_env(""),
            **dict.fromkeys(EVERY_PROXY_VARIABLE, self.url),
            "IAM_URL": "http://iam.cloud.emulated.test",
        }

    def _common_env(self, no_proxy: str) -> dict[str, str]:
        return {
            "QISKIT_IBM_CHANNEL": "ibm_quantum_platform",
            "USAGE_DATA_OPT_OUT": "True",
            "HOME": self._home.name,
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }

    def service(self, **arguments: Any) -> Any:
        """A `QiskitRuntimeService` that talks to this emulator, whatever the environment says."""
        from qiskit_ibm_runtime import QiskitRuntimeService

        with mock.patch.dict(os.environ, self.env):
            return QiskitRuntimeService(**arguments)
