"""IBM's fake backends without IBM's client.

Importing a fake backend from `qiskit_ibm_runtime` imports the whole client (service, optimisers, a
cloud SDK), which takes 0.7 s, longer than all other imports of a small run, and is not needed.
So the package's `__init__` is deferred until one of its own names is used.
"""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_CLIENT = "qiskit_ibm_runtime"


class LazyPackage(ModuleType):
    """A package whose `__init__` runs when one of its names is first used, not on import."""

    def __init__(self, name: str) -> None:
        spec = find_spec(name)
        assert spec is not None
        super().__init__(name)
        self.__dict__.update(vars(module_from_spec(spec)))
        self._lock = threading.RLock()
        self._is_begun = False

    def __getattr__(self, name: str) -> Any:
        """Return a name that only the package's `__init__` defines."""
        # The import system looks up other dunder names, which packages need not have.
        if not name.startswith("__") or name in ("__all__", "__version__"):
            self._run_init()
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None

    def _run_init(self) -> None:
        with self._lock:
            if self._is_begun:
                return
            self._is_begun = True
            assert self.__spec__ is not None
            assert self.__spec__.loader is not None
            try:
                self.__spec__.loader.exec_module(self)
            except BaseException:
                # Interrupted, say: the next use tries again, as after any failed import.
                self._is_begun = False
                raise


def defer_client() -> None:
    """Defer the import of `qiskit_ibm_runtime` itself, unless it was imported before."""
    if _CLIENT not in sys.modules:
        sys.modules[_CLIENT] = LazyPackage(_CLIENT)
