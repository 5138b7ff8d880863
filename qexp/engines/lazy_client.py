"""IBM's fake backends without IBM's client.

`qiskit_ibm_runtime` imports its whole client (its service, optimisers, a cloud SDK) before it
gives a fake backend: 0.7 s, longer than all else that a small run imports, and none of it is needed
for one. So the package's own `__init__` is put off until something of it is asked for.
"""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_CLIENT = "qiskit_ibm_runtime"


class LazyPackage(ModuleType):
    """A package whose submodules can be imported, and whose `__init__` runs when it is needed."""

    def __init__(self, name: str) -> None:
        spec = find_spec(name)
        assert spec is not None, "it is one of qexp's dependencies"
        super().__init__(name)
        self.__dict__.update(vars(module_from_spec(spec)))
        self._lock = threading.RLock()
        self._is_begun = False

    def __getattr__(self, name: str) -> Any:
        """Return what only the package's `__init__` defines; it runs at the first such name."""
        # The import system asks for these of packages that do not have them.
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
                # Interrupted, say: the next one tries again, as after any failed import.
                self._is_begun = False
                raise


def defer_client() -> None:
    """Let submodules of `qiskit_ibm_runtime` be imported without all of it, if it is not yet."""
    if _CLIENT not in sys.modules:
        sys.modules[_CLIENT] = LazyPackage(_CLIENT)
