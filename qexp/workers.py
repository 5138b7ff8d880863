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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import forkserver
from multiprocessing.connection import wait
from typing import Any, TypeVar

from qexp.errors import EngineError

_log = logging.getLogger(__name__)

_PRELOADED = (
    "numpy",
    "qiskit",
    "qiskit.primitives",
    "qiskit.qpy",
    "qiskit.transpiler.preset_passmanagers",
    "qiskit_aer",
    # The default backend comes from it, and every worker would import it by itself.
    "qiskit_ibm_runtime.fake_provider",
    "h5py",
)
T = TypeVar("T")

_shared: Any = None


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shared() -> Any:
    """In a worker: what the pool was made with."""
    return _shared


class Workers:
    """A pool of worker processes that all hold one value.

    Args:
        count: Number of processes.
        value: What `shared()` gives in each of them; it must be picklable.

    Raises:
        TypeError, AttributeError, pickle.PicklingError: It is not.
    """

    def __init__(self, count: int, value: Any) -> None:
        self.count = count
        start_server()
        self._pool = ProcessPoolExecutor(
            count, multiprocessing.get_context("forkserver"), _begin, (pickle.dumps(value),)
        )

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run a module's function in a worker."""
        return self._pool.submit(function, *arguments)

    def map(self, function: Callable[..., T], tasks: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """Results in the order of the tasks, of which a few are taken ahead.

        Raises:
            EngineError: A worker process died.
        """
        upcoming = iter(tasks)
        ahead = [self.submit(function, *task) for task in islice(upcoming, 2 * self.count)]
        while ahead:
            yield self.result(ahead.pop(0))
            ahead.extend(self.submit(function, *task) for task in islice(upcoming, 1))

    def result(self, future: Future[T]) -> T:
        """What a task returned.

        Raises:
            EngineError: A worker process died.
        """
        try:
            return future.result()
        except BrokenProcessPool:
            raise EngineError(
                f"a worker process died, most likely for lack of memory; lower engine.workers "
                f"(now {self.count}) or the size of the circuits (a script of your own that calls "
                f"qexp also needs 'if __name__ == \"__main__\":')"
            ) from None

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        processes = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            # Or the interpreter would wait for what they are doing before it ends.
            process.terminate()


def start_server() -> None:
    """Start the server process, which imports on another core while this one goes on."""
    multiprocessing.set_forkserver_preload(list(_PRELOADED))
    forkserver.ensure_running()


def _begin(pickled: bytes) -> None:
    global _shared  # noqa: PLW0603 - a worker has one
    # Ctrl-C reaches the whole process group; what it means is decided by the parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # One core each: their threads would only wait for one another.
    os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    _shared = pickle.loads(pickled)  # noqa: S301 - written by the parent


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
