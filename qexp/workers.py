"""Worker processes, started when a run is large enough to be worth them.

They are forked from a server process that has the heavy modules imported and runs nothing else:
forking this process would be quicker, but its threads (those of OpenMP and Rayon too) do not
survive a fork, and what they hold stays locked.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import wait
from typing import Any, TypeVar
from uuid import uuid4

from qexp.errors import EngineError

_log = logging.getLogger(__name__)

_PRELOADED = (
    "numpy",
    "qiskit",
    "qiskit.primitives",
    "qiskit.qpy",
    "qiskit.transpiler.preset_passmanagers",
    "qiskit_aer",
    "qexp.engines.local.preload",
    "h5netcdf",
    "qexp.batch.requests",
    "qexp.planning.chunks",
    "qexp.engines.local.chunks",
    "qexp.engines.local.engine",
    "qexp.simulator.estimator",
    "qexp.simulator.sampler",
)
T = TypeVar("T")


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Shared:
    """A value that many tasks use; pickled once here, unpickled once in each worker."""

    key: str
    pickled: bytes

    @classmethod
    def of(cls, value: Any) -> Shared:
        """Pickle a value.

        Raises:
            TypeError, AttributeError, pickle.PicklingError: It is not picklable.
        """
        return cls(uuid4().hex, pickle.dumps(value))

    def value(self) -> Any:
        """In a worker: the value. Only the newest two are kept, a plan's and its simulation's."""
        if self.key not in _unpickled:
            _unpickled[self.key] = pickle.loads(self.pickled)  # noqa: S301 - written by the parent
            for key in list(_unpickled)[:-2]:
                del _unpickled[key]
        return _unpickled[self.key]


_unpickled: dict[str, Any] = {}


class Workers:
    """A pool of worker processes.

    Args:
        count: Number of processes.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.is_open = True
        start_server()
        self._pool = ProcessPoolExecutor(
            count, multiprocessing.get_context("forkserver"), _begin, ()
        )

    def map(
        self, function: Callable[..., T], shared: Shared, tasks: Iterable[tuple[Any, ...]]
    ) -> Iterator[T]:
        """Call a module's function in the workers, with a value and the arguments of each task.

        Args:
            function: Called as `function(value, *task)`.
            shared: The value; a worker keeps it, and what it has learnt, from task to task.
            tasks: Some are taken ahead, so that no worker waits.

        Returns:
            The results in the order of the tasks.

        Raises:
            EngineError: A worker process died.
        """
        ahead: deque[Future[T]] = deque()
        for task in tasks:
            ahead.append(self.begin(function, shared, *task))
            if len(ahead) > 2 * self.count:
                yield self.result(ahead.popleft())
        while ahead:
            yield self.result(ahead.popleft())

    def begin(self, function: Callable[..., T], shared: Shared, *arguments: Any) -> Future[T]:
        """Let a worker call `function(value, *arguments)`, as soon as one has nothing else to do.

        Raises:
            EngineError: A worker process died, or the pool was ended.
        """
        try:
            return self._pool.submit(_call, function, shared, arguments)
        except (BrokenProcessPool, RuntimeError) as error:
            raise self._died() from error

    def result(self, future: Future[T]) -> T:
        """What a task returned.

        Raises:
            EngineError: A worker process died.
        """
        try:
            return future.result()
        except BrokenProcessPool:
            raise self._died() from None

    def _died(self) -> EngineError:
        # The next stage, or the next attempt, gets new ones.
        self.close()
        return EngineError(
            f"a worker process died, most likely for lack of memory; lower engine.workers "
            f"(now {self.count}) or the size of the circuits (a script of your own that calls "
            f"qexp also needs 'if __name__ == \"__main__\":')"
        )

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        self.is_open = False
        processes = getattr(self._pool, "_processes", None) or {}
        self._pool.shutdown(wait=False, cancel_futures=True)
        # Listed only now: another thread may just have started one.
        for process in list(processes.values()):
            # Or the interpreter would wait for what they are doing before it ends.
            process.terminate()


def start_server() -> None:
    """Start the server process, which imports on another core while this one goes on."""
    multiprocessing.set_forkserver_preload(list(_PRELOADED))
    forkserver.ensure_running()


def workers(count: int) -> Workers:
    """The pool of this process: started when first asked for, shared by a run's stages.

    Args:
        count: Number of processes; a pool of another size is replaced.
    """
    global _pool  # noqa: PLW0603 - a process has one
    if _pool is None or not _pool.is_open or _pool.count != count:
        end_workers()
        _pool = Workers(count)
    return _pool


def end_workers() -> None:
    """End the pool of this process, if there is one, whatever it is doing."""
    if _pool is not None:
        _pool.close()


_pool: Workers | None = None


def _begin() -> None:
    # Ctrl-C reaches the whole process group; what it means is decided by the parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # One core each: their threads would only wait for one another.
    os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"


def _call(function: Callable[..., T], shared: Shared, task: tuple[Any, ...]) -> T:
    return function(shared.value(), *task)


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
