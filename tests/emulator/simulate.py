"""Circuits on a noisy simulator of a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.emulator.encoding import seed_of
from tests.emulator.errors import NOT_VALID, InvalidJobError
from tests.emulator.narrow import blocks, components, narrow_circuit, used_qubits

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from tests.emulator.devices import Device

Truth = list[dict[str, np.ndarray]]
Pub = tuple["QuantumCircuit", np.ndarray, int]
SMALL_DEVICE_QUBITS = 7
WIDEST_QUBITS = 12
TOGETHER_QUBITS = 40
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
    widest = max(len(used_qubits([circuit])) for circuit in circuits)
    if widest > WIDEST_QUBITS or len(qubits) > TOGETHER_QUBITS:
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
    rng = np.random.default_rng(seed)
    parts = [part for part in components(circuit) if part[1]]
    alone = {}
    for part in parts:
        if len(part[0]) == 1:
            excited = excited_alone(device, circuit, min(part[0]), values)
            if excited is not None:
                alone[min(part[1])] = excited
    for clbit, excited in alone.items():
        bits[..., clbit] = rng.random((*excited.shape, shots)) < excited[..., np.newaxis]
    columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    rest = [part for part in parts if not part[1] & alone.keys()]
    for index, (qubits, clbits) in enumerate(blocks(rest)):
        ordered, places = tuple(sorted(qubits)), tuple(sorted(clbits))
        part = narrow_circuit(circuit, ordered, places)
        own = values[..., [columns[parameter] for parameter in part.parameters]]
        (found,) = _sample(device, ordered, [(part, own, shots)], seed + index)
        bits[..., places] = found["part"]
    return {
        register.name: bits[..., [circuit.find_bit(bit).index for bit in register]]
        for register in circuit.cregs
    }


def excited_alone(
    device: Device, circuit: QuantumCircuit, qubit: int, values: np.ndarray
) -> np.ndarray | None:
    """Probability to read 1 from a qubit that meets no other one and is measured once, at the end.

    Rotations of the Bloch vector, shrunk by each gate's error, and the readout error; Aer takes
    some 20 ms per circuit, and a wide device has hundreds of such qubits and randomizations.

    Returns:
        Array of shape `values.shape[:-1]`, or `None` if the qubit is not as simple as that.
    """
    x, y, z = (np.full(values.shape[:-1], start) for start in (0.0, 0.0, 1.0))
    columns = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    measured = False
    for instruction in circuit.data:
        name = instruction.operation.name
        if circuit.qubits[qubit] not in instruction.qubits or name == "barrier":
            continue
        if measured or name not in {"rz", "sx", "x", "id", "measure"}:
            return None
        if name == "rz":
            angle = instruction.operation.params[0]
            if angle in columns:
                turn = values[..., columns[angle]]
            elif isinstance(angle, int | float):
                turn = np.full(values.shape[:-1], float(angle))
            else:
                return None
            x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
            continue
        error = device.target[name][qubit,].error or 0.0
        if name == "measure":
            measured = True
            z = z * (1 - 2 * error)
            continue
        y, z = {"sx": (-z, y), "x": (-y, -z), "id": (y, z)}[name]
        x, y, z = (part * (1 - 2 * error) for part in (x, y, z))
    return (1 - z) / 2 if measured else None


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
