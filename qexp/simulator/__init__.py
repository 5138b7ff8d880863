"""Simulation of noisy devices behind Qiskit's V2 primitives.

    >>> from qexp.simulator import NoisySampler
    >>> sampler = NoisySampler(backend, seed=7)  # any BackendV2 with calibration data
    >>> sampler.run([isa_circuit], shots=1000).result()[0].data.meas.get_counts()

The package imports nothing else of qexp. `NoisySampler` and `NoisyEstimator` are the primitives;
`Simulator` is what they share: picklable, synchronous, one seed per call. `methods` chooses how
each circuit is simulated.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qexp.simulator.aer import SimulationError
    from qexp.simulator.primitives import NoisyEstimator, NoisySampler
    from qexp.simulator.simulator import Simulator

__all__ = ["NoisyEstimator", "NoisySampler", "SimulationError", "Simulator"]

_MODULES = {
    "NoisyEstimator": "primitives",
    "NoisySampler": "primitives",
    "SimulationError": "aer",
    "Simulator": "simulator",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: Qiskit Aer takes a third of a second."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
