"""Selectors of backends that need no account, named by `_target_` in `conf/backend`."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from qexp.errors import ConfigError

if TYPE_CHECKING:
    from qiskit.providers import BackendV2


def fake(name: str = "FakeManilaV2") -> BackendV2:
    """Return a snapshot of a real device, from `qiskit_ibm_runtime.fake_provider`.

    Calls in a row with the same name give the same object, so that the points of a sweep share it.

    Args:
        name: Name of the class (`FakeManilaV2`) or of the backend (`fake_manila`).

    Raises:
        ConfigError: If there is no such fake backend.
    """
    return _fake(name)


@lru_cache(maxsize=1)
def _fake(name: str) -> BackendV2:
    from qexp.engines.lazy_client import defer_client

    defer_client()
    import qiskit_ibm_runtime.fake_provider as fake_provider  # noqa: PLR0402 - nothing else of it
    from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

    classes: list[Any] = [
        value
        for value in vars(fake_provider).values()
        if isinstance(value, type) and issubclass(value, FakeBackendV2)
    ]
    by_name = {cls.__name__: cls for cls in classes} | {cls.backend_name: cls for cls in classes}
    if name in by_name:
        return by_name[name]()
    close = get_close_matches(name, by_name, n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "for example FakeManilaV2"
    raise ConfigError(
        f"backend.name={name!r} is none of the {len(classes)} fake backends "
        f"in qiskit_ibm_runtime.fake_provider; {hint}"
    )


def aer(
    num_qubits: Annotated[int, Field(gt=0, le=100_000)] | None = None,
    method: Literal[
        "automatic",
        "statevector",
        "density_matrix",
        "stabilizer",
        "extended_stabilizer",
        "matrix_product_state",
    ] = "automatic",
) -> BackendV2:
    """Return the ideal `AerSimulator`: no noise, every pair of qubits coupled.

    Args:
        num_qubits: Number of qubits; None means as many as the machine's memory allows.
        method: Aer's simulation method.
    """
    from qiskit_aer import AerSimulator

    if num_qubits is None:
        return AerSimulator(method=method)
    return AerSimulator(method=method, n_qubits=num_qubits)


def require_backend(backend: Any, engine: str) -> None:
    """Refuse what is not a Qiskit `BackendV2`.

    Raises:
        ConfigError: It is something else.
    """
    from qiskit.providers import BackendV2

    if not isinstance(backend, BackendV2):
        raise ConfigError(
            f"backend is a {type(backend).__name__}, which engine={engine} cannot simulate; its "
            "_target_ must return a qiskit.providers.BackendV2"
        )


def calibration(backend: BackendV2) -> dict[str, Any] | None:
    """Return the backend's properties, JSON-able, or None where it has none."""
    from qexp.core.jsonable import to_jsonable

    read_properties = getattr(backend, "properties", None)
    properties = read_properties() if callable(read_properties) else None
    return None if properties is None else to_jsonable(properties.to_dict())
