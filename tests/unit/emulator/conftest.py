from __future__ import annotations

from typing import Any

import pytest
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.executor_sampler import Sampler

from tests.emulator import JAKARTA, IBMEmulator


class Bench:
    """A backend of the emulator and a circuit for it."""

    def __init__(self) -> None:
        self.service = QiskitRuntimeService()
        self.backend = self.service.backend(JAKARTA)
        circuit = QuantumCircuit(2)
        circuit.x(0)
        circuit.measure_all()
        passes = generate_preset_pass_manager(1, target=self.backend.target)
        self.circuit = passes.run(circuit)

    def submit(self, mode: Any = None, *tags: str) -> Any:
        sampler = Sampler(mode=mode or self.backend)
        sampler.options.environment.job_tags = list(tags)
        return sampler.run([self.circuit], shots=10)


@pytest.fixture
def bench(ibm_emulator: IBMEmulator) -> Bench:
    return Bench()
