"""Circuits on a noisy simulator of a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.emulator.encoding import seed_of
from tests.emulator.errors import NOT_VALID, InvalidJobError
from tests.emulator.narrow import blocks, narrow_circuit, used_qubits

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from tests.emulator.devices import Device

Truth = list[dict[str, np.ndarray]]
Pub = tuple["QuantumCircuit", np.ndarray, int]
SMALL_DEVICE_QUBITS = 7
TOGETHER_QUBITS = 12
MAX_QUBITS = 24


def sample(device: Device, pubs: list[Pub], options: Any) -> Truth:
    """Run circuits on a noisy simulator of the qubits they use.

    Args:
        device: Where.
        pubs: Circuit, parameter values of shape `(*shape, parameters)`, shots.
        options: Whatever else shall lead to another draw.

    Returns:
        Per PUB and register, booleans of shape `(*shape, shots, bits)`, classical bit 0 first.
    """
    circuits = [circuit for circuit, *_ in pubs]
    check_circuits(circuits, device)
    qubits = simulated_qubits(device, used_qubits(circuits))
    seed = seed_of(circuits, device.name, [[v.tolist(), n] for _, v, n in pubs], options)
    if len(qubits) > TOGETHER_QUBITS:
        return [sample_wide(device, pub, seed + index) for index, pub in enumerate(pubs)]
    return _sample(
        device,
        qubits,
        [(narrow_circuit(circuit, qubits), values, shots) for circuit, values, shots in pubs],
        seed,
    )


def sample_wide(device: Device, pub: Pub, seed: int) -> dict[str, np.ndarray]:
    """Run a circuit that acts on many qubits as parts that do not interact.

    The client-side estimator measures all qubits of a device, which no simulator could hold; the
    noise model has no crosstalk, so that the parts are independent and the result is exact.
    """
    circuit, values, shots = pub
    bits = np.zeros((*values.shape[:-1], shots, circuit.num_clbits), dtype=bool)
    columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    for index, (qubits, clbits) in enumerate(blocks(circuit)):
        part = narrow_circuit(circuit, qubits, clbits)
        own = values[..., [columns[parameter] for parameter in part.parameters]]
        (found,) = _sample(device, qubits, [(part, own, shots)], seed ^ (index << 16))
        bits[..., clbits] = found["part"]
    return {
        register.name: bits[..., [circuit.find_bit(bit).index for bit in register]]
        for register in circuit.cregs
    }


def _sample(device: Device, qubits: tuple[int, ...], pubs: list[Pub], seed: int) -> Truth:
    from qiskit.primitives import BackendSamplerV2

    simulator = device.simulator(qubits)
    sampler = BackendSamplerV2(backend=simulator, options={"seed_simulator": seed % 2**31})
    return [
        {name: array.to_bool_array(order="little") for name, array in result.data.items()}
        for result in sampler.run(pubs).result()
    ]


def check_circuits(circuits: list[QuantumCircuit], device: Device) -> None:
    """Refuse what the device could not run, as the service does once the job has started."""
    from qiskit_ibm_runtime.utils.utils import is_isa_circuit

    for circuit in circuits:
        if message := is_isa_circuit(circuit, device.target):
            raise InvalidJobError(f"Job not valid. {message}", NOT_VALID)


def simulated_qubits(device: Device, used: set[int]) -> tuple[int, ...]:
    """The qubits to simulate: all of a small device, those that are used of a wide one."""
    if device.num_qubits <= SMALL_DEVICE_QUBITS:
        return tuple(range(device.num_qubits))
    return tuple(sorted(used or {0}))
