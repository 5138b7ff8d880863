"""Samples of circuits that fall apart into components of qubits which share no gate.

A circuit that IBM's client prepares for an Estimator twirls and measures every qubit of the device,
idle ones too. Each of them is a component of its own, and together they have far too many qubits
for any method. Qubits without a gate to another one are evolved together, as arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import rustworkx
from numpy.typing import NDArray
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import CircuitInstruction, Parameter
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.simulator.aer import as_int, child
from qexp.simulator.density_matrix import DensityMatrix, Reals
from qexp.simulator.devices import Device, SelfRunning
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.sampler import NoisySampler

_CONSTANT = frozenset({"sx", "x", "id", "delay", "reset"})
_MOST_DRAWS = 2**22


class Sampled(NamedTuple):
    """The shots of a circuit, and the method of its widest component."""

    registers: dict[str, NDArray[np.bool_]]  # name -> shape (*sets, shots, bits), bit 0 first
    method: str


@dataclass(frozen=True)
class _Component:
    """Instructions on qubits that no gate joins to others; `bits` are those that they write."""

    instructions: tuple[CircuitInstruction, ...]
    bits: tuple[int, ...]


class ComponentSampler:
    """Samples circuits component by component.

    A backend that is not simulated from its calibration gets its circuits as they are.

    Args:
        device: The device to simulate.
        sampler: Samples components of several qubits on it; None: it has its own.
    """

    def __init__(self, device: Device | SelfRunning, sampler: NoisySampler | None = None) -> None:
        self._sampler = sampler or NoisySampler(device)
        self._channels = DensityMatrix(device) if isinstance(device, NoisyDevice) else None

    def sample(
        self, circuit: QuantumCircuit, values: Reals, shots: int, sequence: np.random.SeedSequence
    ) -> Sampled:
        """Sample a circuit.

        Parameter sets have the shape (*sets, parameters), in the order of its parameters.
        Components have streams of their own of the sequence, which decides every bit.

        Raises:
            SimulationError: The simulator reports a failure.
        """
        shape = values.shape[:-1]
        flat = values.reshape(math.prod(shape), values.shape[-1])
        bits = np.zeros((len(flat), shots, circuit.num_clbits), dtype=bool)
        method = "density_matrix"
        if self._channels is None or circuit.has_control_flow_op():
            method = self._sample(circuit, range(circuit.num_clbits), flat, shots, sequence, bits)
        else:
            columns = {parameter: k for k, parameter in enumerate(circuit.parameters)}
            single, joined = self._told_apart(circuit, columns)
            widest = 0
            for number, component in enumerate(joined):
                part = _part(circuit, component)
                own = flat[:, [columns[parameter] for parameter in part.parameters]]
                seed = child(sequence, 1 + number)
                done = self._sample(part, component.bits, own, shots, seed, bits)
                if len(component.instructions) > widest:
                    widest, method = len(component.instructions), done
            generator = np.random.default_rng(child(sequence, 0))
            for kinds in sorted(single):
                self._sample_single(circuit, single[kinds], columns, flat, generator, bits)
        index_of = {clbit: index for index, clbit in enumerate(circuit.clbits)}
        registers = {
            register.name: bits[..., [index_of[bit] for bit in register]].reshape(
                *shape, shots, register.size
            )
            for register in circuit.cregs
        }
        return Sampled(registers, method)

    def _sample(
        self,
        circuit: QuantumCircuit,
        bits: Sequence[int],
        values: Reals,
        shots: int,
        sequence: np.random.SeedSequence,
        into: NDArray[np.bool_],
    ) -> str:
        """Sample a circuit with the method that suits it, which is returned, into some bits."""
        parameters = tuple(circuit.parameters)
        bindings = BindingsArray({parameters: values} if parameters else {}, shape=(len(values),))
        pub = SamplerPub(circuit, bindings, shots)
        method = self._sampler.predict(pub, shots=shots).method
        [result] = self._sampler.sample([pub], shots=shots, seed=as_int(sequence))
        place = dict(zip(circuit.clbits, bits, strict=True))
        for register in circuit.cregs:
            found = result.data[register.name].to_bool_array(order="little")
            into[..., [place[bit] for bit in register]] = found
        return method

    def _told_apart(
        self, circuit: QuantumCircuit, columns: dict[Parameter, int]
    ) -> tuple[dict[tuple[str, ...], list[_Component]], list[_Component]]:
        """Return single qubits by the names of their instructions, and all other components."""
        single: dict[tuple[str, ...], list[_Component]] = {}
        joined = []
        for component in components(circuit):
            names = tuple(one.name for one in component.instructions)
            if self._is_single(circuit, component, columns):
                single.setdefault(names, []).append(component)
            elif component.bits:
                joined.append(component)
        return single, joined

    def _is_single(
        self, circuit: QuantumCircuit, component: _Component, columns: dict[Parameter, int]
    ) -> bool:
        """Return whether a component is a qubit that is measured last, after simple gates."""
        *gates, last = component.instructions
        assert self._channels is not None
        return (
            last.name == "measure"
            and len({one.qubits for one in component.instructions}) == 1
            and self._channels.error("rz", (circuit.find_bit(last.qubits[0]).index,)) is None
            and all(
                isinstance(one.params[0], int | float) or one.params[0] in columns
                if one.name == "rz"
                else one.name in _CONSTANT
                for one in gates
            )
        )

    def _sample_single(
        self,
        circuit: QuantumCircuit,
        alike: list[_Component],
        columns: dict[Parameter, int],
        values: Reals,
        generator: np.random.Generator,
        into: NDArray[np.bool_],
    ) -> None:
        """Sample qubits with instructions of the same names, all at once."""
        channels = self._channels
        assert channels is not None
        qubits = [circuit.find_bit(one.instructions[0].qubits[0]).index for one in alike]
        # The Pauli vectors of |0>, shape (sets, qubits, 4).
        state = np.zeros((len(values), len(alike), 4))
        state[..., [0, 3]] = 1.0
        for step in list(zip(*(one.instructions for one in alike), strict=True))[:-1]:
            if step[0].name == "rz":
                angles = np.stack([_angle(one.params[0], columns, values) for one in step], axis=-1)
                cos, sin = np.cos(angles), np.sin(angles)
                x, y = state[..., 1].copy(), state[..., 2].copy()
                state[..., 1], state[..., 2] = cos * x - sin * y, sin * x + cos * y
                continue
            matrices = np.stack(
                [
                    channels.channel(one, (qubit,), {}, values)
                    for one, qubit in zip(step, qubits, strict=True)
                ]
            )
            state = np.einsum("qij,sqj->sqi", matrices, state)
        ones = np.clip((state[..., 0] - state[..., 3]) / 2, 0.0, 1.0)
        read = np.stack([channels.readout(qubit) for qubit in qubits])
        chances = (1 - ones) * read[:, 1, 0] + ones * read[:, 1, 1]
        bits = [one.bits[0] for one in alike]
        shots = into.shape[1]
        rows = max(1, _MOST_DRAWS // (shots * len(bits)))
        for first in range(0, len(values), rows):
            some = chances[first : first + rows, None, :]
            drawn = generator.random((len(some), shots, len(bits))) < some
            into[first : first + rows, :, bits] = drawn


def components(circuit: QuantumCircuit) -> list[_Component]:
    """Return the components of a circuit without control flow, by their lowest qubit.

    Barriers join nothing and are left out, as are delays of a qubit that is only idle.
    """
    index = {bit: k for k, bit in enumerate([*circuit.qubits, *circuit.clbits])}
    kept = [one for one in circuit.data if one.name != "barrier"]
    graph = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from(index)
    for one in kept:
        first, *others = (index[bit] for bit in (*one.qubits, *one.clbits))
        graph.add_edges_from_no_data([(first, other) for other in others])
    parts = sorted(map(sorted, rustworkx.connected_components(graph)))
    number = {bit: k for k, joined in enumerate(parts) for bit in joined}
    members: dict[int, list[CircuitInstruction]] = {}
    for one in kept:
        members.setdefault(number[index[one.qubits[0]]], []).append(one)
    offset = circuit.num_qubits
    return [
        _Component(
            tuple(instructions),
            tuple(sorted({index[bit] - offset for one in instructions for bit in one.clbits})),
        )
        for _, instructions in sorted(members.items())
        if any(one.name != "delay" for one in instructions)
    ]


def _part(circuit: QuantumCircuit, component: _Component) -> QuantumCircuit:
    """Return a component as a circuit: on all qubits, but with its own bits."""
    bits = [circuit.clbits[bit] for bit in component.bits]
    register = ClassicalRegister(name="own", bits=bits)
    part = QuantumCircuit(circuit.qubits, bits, register, name=circuit.name)
    for one in component.instructions:
        part._append(one)
    return part


def _angle(parameter: Any, columns: dict[Parameter, int], values: Reals) -> Reals:
    if isinstance(parameter, Parameter):
        return values[:, columns[parameter]]
    return np.full(len(values), float(parameter))
