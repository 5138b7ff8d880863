"""Clifford circuits with noise of Paulis and resets, compiled for `frames`.

>>> device = NoisyDevice(backend)
>>> compiler = CliffordCompiler(device, DensityMatrix(device))
>>> compiler.objection(isa_circuit)  # None: it can be simulated
>>> bits = sample(compiler.compile(isa_circuit), 4096, np.random.default_rng(7))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction

from qexp.simulator.circuits import active_qubits
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.pauli_noise import Mixture, PauliNoise, reset_masks

if TYPE_CHECKING:
    import stim

# Qiskit's gates as gates of stim on some of their qubits, one after the other, up to the phase.
_GATES = {
    "id": "",
    "x": "X 0",
    "y": "Y 0",
    "z": "Z 0",
    "s": "S 0",
    "sdg": "S 0; Z 0",
    "sx": "SQRT_X 0",
    "sxdg": "SQRT_X 0; X 0",
    "h": "S 0; SQRT_X 0; S 0",
    "cz": "CZ 0 1",
    "cx": "CX 0 1",
    "ecr": "S 0; SQRT_X 1; CX 0 1; X 0",
    "swap": "CX 0 1; CX 1 0; CX 0 1",
}
# Of gates with an angle, a quarter of a turn.
_QUARTERS = {"rz": "S 0", "p": "S 0", "rx": "SQRT_X 0", "rzz": "CZ 0 1; S 0; S 1"}
_MAX_ANGLE_ERROR = 1e-9


_Gates: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]


class NoCliffordError(ValueError):
    """Raised for a circuit that cannot be simulated here; a clause about it."""


class Step(NamedTuple):
    """A step of a program: a gate by stim's name, `NOISE`, `R` or `M`."""

    name: str
    qubits: tuple[int, ...]  # numbers among the program's qubits
    noise: Mixture | None = None
    stop: int = -1  # index of the stop at this step


class Read(NamedTuple):
    """A measurement: where its outcome goes, and the probabilities `[prepared, read]`."""

    clbit: int
    readout: NDArray[np.float64]


@dataclass
class Program:
    """A circuit as steps, with what decides its cost.

    Stops are the steps at which a reference needs more than gates: measurements, resets, and noise
    that may reset. Before each there are gates, `gates[stop]`, and some more after the last.
    """

    num_qubits: int
    num_clbits: int
    steps: list[Step] = field(default_factory=list)
    stops: list[Step] = field(default_factory=list)
    gates: list[stim.Circuit] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    # By instruction and physical qubits ("cz 3 4"): how far its error is off, see `Mixture`.
    approximated: dict[str, float] = field(default_factory=dict)
    deviation: float = 0.0  # bound on the change of any outcome's probability, at most 1
    mean_resets: float = 0.0  # resets of the noise in a shot

    @property
    def approximation(self) -> dict[str, Any]:
        """The approximation of noise as an archive states it; empty where there is none."""
        if not self.approximated:
            return {}
        return {"errors": self.approximated, "deviation": self.deviation}


class CliffordCompiler:
    """Compiles the Clifford circuits of a noisy device.

    Args:
        device: The device.
        channels: Its channels.
        approximate: Approximate errors that are no mixture of Paulis and resets, see
            `pauli_noise`; False: object to circuits that have one.
    """

    def __init__(
        self, device: NoisyDevice, channels: DensityMatrix, *, approximate: bool = False
    ) -> None:
        self._device = device
        self._noise = PauliNoise(channels)
        self._approximate = approximate

    def objection(self, circuit: QuantumCircuit) -> str | None:
        """Return why a circuit cannot be simulated here, as a clause about it, or None."""
        try:
            self.compile(circuit)
        except NoCliffordError as error:
            return str(error)
        return None

    def compile(self, circuit: QuantumCircuit, qubits: Sequence[int] | None = None) -> Program:
        """Compile a circuit.

        `qubits` are the physical qubits behind those of the circuit; None: they are the same.

        Raises:
            NoCliffordError: It cannot be simulated here.
        """
        import stim

        # Cheap reasons first: noise is made only for circuits that are Clifford circuits.
        gates = [_gates(instruction) for instruction in circuit.data]
        if circuit.num_vars or circuit.num_stretches:
            raise NoCliffordError("it has classical variables")
        active = active_qubits(circuit)
        used = [index for index, qubit in enumerate(circuit.qubits) if qubit in active]
        number = {circuit.qubits[index]: place for place, index in enumerate(used)}
        physical = [index if qubits is None else qubits[index] for index in used]
        clbits = {bit: index for index, bit in enumerate(circuit.clbits)}
        program = Program(len(used), circuit.num_clbits, gates=[stim.Circuit()])
        for instruction, parts in zip(circuit.data, gates, strict=True):
            name = instruction.name
            if name == "barrier" or instruction.qubits[0] not in number:
                continue
            where = tuple([number[qubit] for qubit in instruction.qubits])
            for part, places in parts:
                _add_gate(program, part, tuple([where[place] for place in places]))
            if name == "measure":
                readout = self._device.readout_probabilities(physical[where[0]])
                program.reads.append(Read(clbits[instruction.clbits[0]], readout))
                _add_stop(program, Step("M", where))
                continue
            if name == "reset":
                _add_stop(program, Step("R", where))
            self._add_noise(program, instruction, where, tuple([physical[q] for q in where]))
        return program

    def _add_noise(
        self,
        program: Program,
        instruction: CircuitInstruction,
        where: tuple[int, ...],
        physical: tuple[int, ...],
    ) -> None:
        # As in Aer, a user's label on a gate takes the place of its name.
        name = instruction.label or instruction.name
        try:
            noise = (
                self._noise.of_delay(instruction, physical[0])
                if name == "delay"
                else self._noise.of_gate(name, physical)
            )
        except ValueError as error:
            raise NoCliffordError(f"the error of {label(name, physical)}: {error}") from None
        if noise is None or noise.probabilities[0] == 1:
            return
        if noise.deviation:
            if not self._approximate:
                raise NoCliffordError(
                    f"the error of {label(name, physical)} is no mixture of Paulis and resets; "
                    f"the nearest is off by {noise.deviation:.1e}"
                )
            program.approximated[label(name, physical)] = noise.deviation
            program.deviation = min(1.0, program.deviation + noise.deviation)
        step = Step("NOISE", where, noise)
        resets = float(noise.probabilities[reset_masks(len(where)) > 0].sum())
        if resets:
            program.mean_resets += resets
            _add_stop(program, step)
        else:
            program.steps.append(step)


def label(name: str, qubits: tuple[int, ...]) -> str:
    """Return an instruction with its physical qubits as text, such as `cz 3 4`."""
    return " ".join([name, *map(str, qubits)])


def _gates(instruction: CircuitInstruction) -> _Gates:
    """Return an instruction as gates of stim."""
    name = instruction.name
    if name in {"barrier", "measure", "reset"}:
        return ()
    if name == "delay":
        if not isinstance(instruction.params[0], int | float):
            raise NoCliffordError("it has a delay of a parameter")
        return ()
    if instruction.is_standard_gate():
        if name in _GATES:
            return _parsed(_GATES[name])
        if name in _QUARTERS:
            angle = instruction.params[0]
            if not isinstance(angle, int | float) and angle.parameters:
                raise NoCliffordError("it has parameters")
            turns = round(float(angle) / (math.pi / 2))
            if abs(float(angle) - turns * math.pi / 2) <= _MAX_ANGLE_ERROR:
                return _parsed(_QUARTERS[name]) * (turns % 4)
            raise NoCliffordError(f"it has {name}({float(angle):.6g}), which is no Clifford gate")
    raise NoCliffordError(f"it has '{name}', and only Clifford gates of fixed names are known here")


@cache
def _parsed(text: str) -> _Gates:
    parts = (part.split() for part in text.split(";") if part)
    return tuple((name, tuple(map(int, places))) for name, *places in parts)


def _add_gate(program: Program, name: str, qubits: tuple[int, ...]) -> None:
    program.gates[-1].append(name, qubits)
    if name not in {"X", "Y", "Z"}:  # they change no frame
        program.steps.append(Step(name, qubits))


def _add_stop(program: Program, step: Step) -> None:
    import stim

    step = step._replace(stop=len(program.stops))
    program.steps.append(step)
    program.stops.append(step)
    program.gates.append(stim.Circuit())
