"""The noise of a device, made for the qubits that circuits use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Delay
from qiskit.providers import BackendV2
from qiskit.result import Result
from qiskit.transpiler import Target
from qiskit_aer import AerSimulator
from qiskit_aer import __version__ as aer_version
from qiskit_aer.noise import NoiseModel, RelaxationNoisePass
from qiskit_aer.noise.device import basic_device_gate_errors, basic_device_readout_errors

from qexp.simulator.aer import run_aer

_MAX_MODELS = 64


@dataclass(frozen=True)
class LocalError:
    """An error on some qubits of a device."""

    error: Any  # Aer's QuantumError or ReadoutError
    qubits: tuple[int, ...]  # the physical qubits that it acts on
    instruction: str | None = None  # the instruction that it follows; None for a readout error

    def add_to(self, model: NoiseModel, qubits: Sequence[int]) -> None:
        """Add the error to some qubits of a noise model."""
        if self.instruction is None:
            model.add_readout_error(self.error, qubits)
        else:
            model.add_quantum_error(self.error, self.instruction, qubits)

    @cached_property
    def serialized(self) -> Mapping[str, Any]:
        """The error as Aer's C++ code reads it, JSON-able."""
        alone = NoiseModel()
        self.add_to(alone, self.qubits)
        (error,) = alone.to_dict(serializable=True)["errors"]
        return error


class NoisyDevice:
    """Runs circuits with the noise of some qubits of a device.

    The noise is bit for bit what `NoiseModel.from_backend` makes of the device's target: gate
    errors, readout errors, and relaxation during delays. Each error is made once, when it is first
    needed; the noise models of the last 64 sets of qubits are kept.

    Args:
        backend: A backend whose target has errors and durations.
        approximate: Allow methods to approximate its errors, and to say so, see `pauli_noise`.
    """

    def __init__(self, backend: BackendV2, *, approximate: bool = False) -> None:
        self.backend = backend
        self.approximate = approximate
        self.target: Target = backend.target
        self._error = cache(self._make_error)
        self._models = lru_cache(maxsize=_MAX_MODELS)(self._build_model)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the backend, without the noise, which is made again as it was."""
        return partial(type(self), self.backend, approximate=self.approximate), ()

    def run(
        self, circuits: Sequence[QuantumCircuit], *, qubits: tuple[int, ...], **options: Any
    ) -> Result:
        """Run circuits in one call to Aer, on one core: worker processes use the others.

        Args:
            circuits: Circuits on `len(qubits)` qubits, see `restrict_to_active`.
            qubits: The physical qubit behind each of their qubits, ascending.
            options: Aer's run options (`shots`, `method`, `seed_simulator`, ...).

        Raises:
            SimulationError: Aer reports a failure.
        """
        noise_model = self.noise_model(qubits)
        if not noise_model.is_ideal():
            options["noise_model"] = noise_model
        return run_aer(self._simulator, circuits, max_parallel_threads=1, **options)

    def noise_model(self, qubits: tuple[int, ...]) -> NoiseModel:
        """Return the noise of these physical qubits, renumbered in this order from 0."""
        return self._models(qubits)

    def gate_error(self, name: str, qubits: tuple[int, ...]) -> LocalError | None:
        """Return the error of an instruction on these physical qubits, in this order."""
        return None if name == "measure" else self._error(name, qubits)

    def readout_error(self, qubit: int) -> LocalError | None:
        """Return the readout error of a physical qubit."""
        return self._error("measure", (qubit,))

    def readout_probabilities(self, qubit: int) -> NDArray[np.float64]:
        """Return probabilities `[prepared, read]` of a physical qubit, shape (2, 2)."""
        error = self.readout_error(qubit)
        return np.eye(2) if error is None else np.asarray(error.error.probabilities)

    def relaxation_times_s(self, qubit: int) -> tuple[float, float]:
        """Return T1 and T2 of a physical qubit in seconds, infinite where the target has none.

        As in Aer, T2 is cut to the largest physical value, 2 T1.
        """
        known = self.target.qubit_properties
        properties = known[qubit] if known else None
        t1 = math.inf if properties is None or properties.t1 is None else properties.t1
        t2 = 2 * t1 if properties is None or properties.t2 is None else min(properties.t2, 2 * t1)
        return t1, t2

    @property
    def info(self) -> dict[str, str]:
        """Name, method and version of the simulator."""
        return {
            "simulator": f"aer_simulator_from({self.backend.name})",
            "simulator_method": "automatic",
            "aer_version": aer_version,
        }

    @cached_property
    def _simulator(self) -> AerSimulator:
        return AerSimulator()

    def _build_model(self, qubits: tuple[int, ...]) -> NoiseModel:
        number = {qubit: index for index, qubit in enumerate(qubits)}
        model = _SerializedNoiseModel(list(self.target.operation_names))
        errors = [self.gate_error(name, where) for name, where in self._gates_among(qubits)]
        errors += [self.readout_error(qubit) for qubit in qubits]
        for error in errors:
            if error is not None:
                model.add(error, [number[qubit] for qubit in error.qubits])
        if self.target.qubit_properties:
            t1s, t2s = zip(*map(self.relaxation_times_s, qubits), strict=True)
            relaxation = RelaxationNoisePass(t1s, t2s, self.target.dt, Delay)
            # Aer has no public way to add a pass to a noise model.
            model._custom_noise_passes.append(relaxation)
        return model

    def _gates_among(self, qubits: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Return names and qubits of the instructions that act on these qubits alone."""
        among = set(qubits)
        return [
            (name, where)
            for name in self.target.operation_names
            for where in self.target[name] or ()
            if where is not None and among.issuperset(where)
        ]

    def _make_error(self, name: str, qubits: tuple[int, ...]) -> LocalError | None:
        if name not in self.target or (self.target[name] or {}).get(qubits) is None:
            return None
        # A target with this instruction alone.
        alone = Target(
            num_qubits=self.target.num_qubits, qubit_properties=self.target.qubit_properties
        )
        operation = self.target.operation_from_name(name)
        alone.add_instruction(operation, {qubits: self.target[name][qubits]}, name=name)
        is_readout = name == "measure"
        make = basic_device_readout_errors if is_readout else basic_device_gate_errors
        errors = make(target=alone)
        if not errors or errors[0][-1].ideal():
            return None
        return LocalError(errors[0][-1], qubits, None if is_readout else name)


class _SerializedNoiseModel(NoiseModel):
    """A noise model that keeps its errors serialized; Aer would serialize them for each run."""

    def __init__(self, basis_gates: Sequence[str]) -> None:
        super().__init__(basis_gates=basis_gates)
        self._serialized: list[Mapping[str, Any]] | None = []

    def add(self, error: LocalError, qubits: Sequence[int]) -> None:
        error.add_to(self, qubits)
        assert self._serialized is not None
        self._serialized.append({**error.serialized, "gate_qubits": [list(qubits)]})

    def add_all_qubit_quantum_error(self, *args: Any, **options: Any) -> None:
        # Aer adds the errors of delays to a copy of the model.
        self._serialized = None
        super().add_all_qubit_quantum_error(*args, **options)

    def to_dict(self, serializable: bool = False) -> dict[str, Any]:
        if self._serialized is None or not serializable:
            return super().to_dict(serializable)
        return {"errors": list(self._serialized)}
