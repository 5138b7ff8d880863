"""Simulation of noisy devices behind Qiskit's V2 primitives.

    >>> from qexp.simulator import NoisySampler
    >>> sampler = NoisySampler(backend, seed=7)  # any BackendV2 with calibration data
    >>> sampler.run([isa_circuit], shots=1000).result()[0].data.meas.get_counts()

The package imports nothing else of qexp. `methods` is the one place where the method for a circuit
is chosen.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qexp.simulator.aer import SimulationError
    from qexp.simulator.circuits import aer_objection
    from qexp.simulator.devices import make_device
    from qexp.simulator.estimator import NoisyEstimator
    from qexp.simulator.sampler import NoisySampler

SIMULATOR_VERSION = 3
"""Version of the methods, of the boundaries between them and of their draws. Within a version a
seed gives the same shots. Version 1, which recorded none, had no trajectory trees; those of
version 2 evolved all qubits at a time."""

__all__ = [
    "SIMULATOR_VERSION",
    "NoisyEstimator",
    "NoisySampler",
    "SimulationError",
    "aer_objection",
    "make_device",
]

_MODULES = {
    "NoisyEstimator": "estimator",
    "NoisySampler": "sampler",
    "SimulationError": "aer",
    "aer_objection": "circuits",
    "make_device": "devices",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: Qiskit Aer takes a third of a second."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
