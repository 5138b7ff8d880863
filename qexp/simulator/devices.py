"""Backends as devices that circuits are simulated on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import count
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2, Options
from qiskit.result import Result
from qiskit_aer import AerSimulator
from qiskit_aer import __version__ as aer_version
from qiskit_aer.backends.aerbackend import AerBackend
from qiskit_aer.noise import NoiseModel

from qexp.simulator.aer import as_int, child, run_aer
from qexp.simulator.noise import NoisyDevice


class GivenSimulator:
    """An Aer simulator that is used as it is: noise and method are its own."""

    def __init__(self, backend: AerSimulator) -> None:
        self.backend = backend
        self.noise: NoiseModel | None = backend.options.noise_model
        self.method: str = backend.options.method

    def run(
        self,
        circuits: Sequence[QuantumCircuit],
        *,
        qubits: tuple[int, ...],  # noqa: ARG002 - the noise has its own
        **options: Any,
    ) -> Result:
        """Run circuits in one call, see `run_aer`."""
        return run_aer(self.backend, circuits, **options)

    def noise_model(self, qubits: tuple[int, ...]) -> NoiseModel:  # noqa: ARG002 - its own
        """Return the simulator's noise, which belongs to its own qubit numbers."""
        return self.noise or NoiseModel()

    @property
    def info(self) -> dict[str, str]:
        """Name, method and version of the simulator."""
        return {
            "simulator": self.backend.name,
            "simulator_method": self.method,
            "aer_version": aer_version,
        }


class SelfRunning:
    """A backend that runs circuits itself."""

    def __init__(self, backend: BackendV2) -> None:
        self.backend = backend

    @property
    def info(self) -> dict[str, str]:
        """Name of the simulator."""
        return {"simulator": self.backend.name}

    def seeded(self, seed: int) -> BackendV2:
        """Return a view of the backend whose runs are decided by one seed.

        Each run gets another seed: Qiskit's primitives make one run per value of shots, all with
        the same seed. A failed run raises `SimulationError`; they would return zeros for it.
        """
        backend, runs, sequence = self.backend, count(), np.random.SeedSequence(seed)

        class Seeded(BackendV2):
            @cached_property
            def target(self) -> Any:
                return backend.target

            @property
            def max_circuits(self) -> int | None:
                return backend.max_circuits

            @classmethod
            def _default_options(cls) -> Options:
                return Options()

            def run(self, run_input: list[QuantumCircuit], **options: Any) -> Any:
                options["seed_simulator"] = as_int(child(sequence, next(runs)))
                result = run_aer(backend, run_input, **options)
                return SimpleNamespace(result=lambda: result)

        return Seeded(name=backend.name)


Device: TypeAlias = NoisyDevice | GivenSimulator
"""A device that Aer simulates."""


def make_device(
    backend: BackendV2 | Device | SelfRunning, *, approximate_noise: bool = False
) -> Device | SelfRunning:
    """Return a backend as a device.

    Args:
        backend: An Aer simulator, which is used as it is; a backend with calibration data, whose
            active qubits are simulated with the noise of its target; or any other backend, which
            runs the circuits itself. It must not be changed afterwards. A device is returned.
        approximate_noise: Allow errors of gates to be approximated by mixtures of Paulis and resets
            where that lets a Clifford circuit be simulated as one. The metadata of its result then
            say which, and by how much: `approximated_noise`.
    """
    if not isinstance(backend, BackendV2):
        return backend
    if isinstance(backend, AerBackend):
        return GivenSimulator(backend)
    properties = getattr(backend, "properties", None)
    has_calibration = callable(properties) and properties() is not None
    if has_calibration:
        return NoisyDevice(backend, approximate=approximate_noise)
    return SelfRunning(backend)
