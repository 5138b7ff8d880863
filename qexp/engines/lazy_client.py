"""IBM's fake backends without IBM's client.

`qiskit_ibm_runtime` imports its whole client (its service, optimisers, a cloud SDK) before it
gives a fake backend, and that takes longer than all else that a small run imports. None of it is
needed for one. So the package's own `__init__` is put off until something of it is asked for.
"""

from __future__ import annotations

import sys
import threading
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_CLIENT = "qiskit_ibm_runtime"


class DeferredPackage(ModuleType):
    """A package whose submodules can be imported, and whose `__init__` runs when it is needed.

    Args:
        spec: Where the package is.
    """

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__loader__ = spec.loader
        self.__package__ = spec.name
        self.__file__ = spec.origin
        self.__path__ = list(spec.submodule_search_locations or ())
        self._lock = threading.RLock()
        self._is_begun = False

    def __getattr__(self, name: str) -> Any:
        """What only the package's `__init__` defines; it runs at the first such name."""
        # The import system asks for these of packages that do not have them.
        if name.startswith("__") and name not in ("__all__", "__version__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with self._lock:
            if not self._is_begun:
                self._is_begun = True
                assert self.__spec__ is not None
                assert self.__spec__.loader is not None
                try:
                    self.__spec__.loader.exec_module(self)
                except BaseException:
                    # Interrupted, say: the next one tries again, as after any failed import.
                    self._is_begun = False
                    raise
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


def defer_client() -> None:
    """Let submodules of `qiskit_ibm_runtime` be imported without all of it. Harmless if it is."""
    if _CLIENT in sys.modules:
        return
    spec = find_spec(_CLIENT)
    assert spec is not None, "it is one of qexp's dependencies"
    sys.modules[_CLIENT] = DeferredPackage(spec)
