"""The emulator as tests see it."""

from __future__ import annotations

import importlib
import json
import os
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

from tests.emulator.discovery import INSTANCE, TOKEN, Tokens
from tests.emulator.limits import Limits
from tests.emulator.server import Fault, Intercept, Journal, Server
from tests.emulator.worker import Queue

if TYPE_CHECKING:
    from tests.emulator.simulate import Truth
    from tests.emulator.state import Job, Session

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
EVERY_PROXY_VARIABLE = (*PROXY_VARIABLES, *(name.lower() for name in PROXY_VARIABLES))
JOB_TAG = re.compile(r"qexp-job:(?P<partition>\d+)\.(?P<attempt>\d+):[0-9a-f]+")


class IBMEmulator:
    """IBM's REST API on the loopback interface, for the unmodified `QiskitRuntimeService`.

    Use it as a context manager.

    Attributes:
        journal: Every request, in order.
        faults: Callables `(method, path) -> Response | None`, asked before the routes in this
            order; the first reply is sent instead of the real one. Or what
            `tests.emulator.faults` makes, which also sees the request and the real reply.
    """

    def __init__(self) -> None:
        # The allocator in Qiskit 2.6 takes the thread that first imports Qiskit for the main one,
        # and once that has ended, the process crashes. So not first in one of our own threads.
        importlib.import_module("qiskit")
        self.journal = Journal()
        self.faults: list[Fault | Intercept] = []
        self._queue = Queue()
        self._server = Server(self._queue, self.journal, self.faults)
        self._home = tempfile.TemporaryDirectory(prefix="emulated-home-")
        self.hold = self._queue.hold
        self.release = self._queue.release
        self.fail_next_job = self._queue.fail_next_job
        self.stall_next_job = self._queue.stall_next_job
        self.end_stall = self._queue.end_stall
        self.cancel_job = self._queue.cancel
        self.cancel_session = self._queue.cancel_session
        self.delete_job = self._queue.delete
        self.expire_session = self._queue.expire_session
        self.pass_time = self._queue.pass_time
        self.move_instance = self._queue.move
        self.wait_until_running = self._queue.wait_until_running
        self.wait_until_idle = self._queue.wait_until_idle

    def __enter__(self) -> Self:
        self._queue.start()
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.stop()
        self._server.stop()
        self._home.cleanup()

    def save(self, path: str | Path) -> None:
        """Write all sessions and jobs to a JSON file, which `load` reads.

        Tokens, limits and what was asked to fail are not in it.
        """
        text = json.dumps(self._queue.saved(), indent=1)
        Path(path).write_text(f"{text}\n", encoding="utf-8")

    def load(self, path: str | Path) -> None:
        """Go on with the sessions and jobs that another emulator saved.

        Jobs that were queued or running are run, unless the queue is held.

        Raises:
            ValueError: If there is a session or a job already.
        """
        self._queue.restore(json.loads(Path(path).read_text(encoding="utf-8")))

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:43210`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def results(self) -> dict[str, Truth]:
        """What completed jobs measured, by job id; see `tests.emulator.programs.Outcome`."""
        return self._queue.results

    @property
    def limits(self) -> Limits:
        """What the service allows; unlimited until it is changed."""
        return self._queue.limits

    @property
    def tokens(self) -> Tokens:
        """The access tokens that open it."""
        return self._queue.tokens

    def rename_instance(self, instance: str, name: str) -> None:
        """Give an instance (its CRN) another name, as its owner may at any time."""
        self._queue.instances[instance] = name

    @property
    def job_ids(self) -> list[str]:
        """Ids of all jobs in order of submission."""
        return [job.id for job in self._queue.all_jobs()]

    @property
    def session_ids(self) -> list[str]:
        """Ids of all sessions in order of opening."""
        return list(self._queue.sessions)

    @property
    def taken(self) -> list[Job]:
        """All jobs there ever were, deleted ones too, in order of submission."""
        return list(self._queue.taken)

    @property
    def sessions(self) -> list[Session]:
        """All sessions in order of opening."""
        return list(self._queue.sessions.values())

    def job_states(self) -> dict[str, str]:
        """State of each job, such as `"Queued"`, by id, in order of submission."""
        return {job.id: job.status for job in self._queue.all_jobs()}

    def jobs_of(self, partition: int) -> list[str]:
        """Ids of all jobs of a partition, by their tags, in order of submission."""
        return [
            job.id
            for job in self._queue.taken
            if any(_partition_of(tag) == partition for tag in job.tags)
        ]

    def jobs_by_tag(self) -> Counter[str]:
        """How many jobs there ever were per `qexp-job:` tag; more than one are duplicates."""
        return Counter(
            tag for job in self._queue.taken for tag in job.tags if JOB_TAG.fullmatch(tag)
        )

    def runs_per_partition(self) -> Counter[int]:
        """How many jobs were executed to their end, by the partition that their tag names.

        What failed when it started, or in the queue, was not executed; what was executed and then
        failed, was cancelled or never fetched, was.
        """
        found = (_partition_of(tag) for job in self._queue.taken if job.ran for tag in job.tags)
        return Counter(partition for partition in found if partition is not None)

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


def _partition_of(tag: str) -> int | None:
    match = JOB_TAG.fullmatch(tag)
    return None if match is None else int(match["partition"])
