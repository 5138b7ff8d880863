"""Simulation of Clifford circuits with noise of Paulis and resets, of hundreds of qubits.

A shot is a reference, which has no Paulis of the noise, and a Pauli frame: how the shot's state
differs from it. Frames of all shots are propagated together, an X and a Z bit for each qubit and
shot. A frame begins with a random Z on every qubit in |0>, which changes no state but spreads to a
fair coin wherever an outcome is random. Reset and measurement do the same anew.

A reset by the noise changes more than the frame: shots with the same resets share a reference,
which stim's tableau simulator computes. References that begin alike are computed together as far
as they do. So a reset costs about a millisecond, a Pauli nothing.

All random numbers are NumPy's, and stim is never asked for one: of random outcomes the reference
has 0. Shots depend neither on the width of a CPU's vector instructions nor on stim's version, as
those of stim's own samplers do.

Reference: C. Gidney, "Stim: a fast stabilizer circuit simulator", arXiv:2103.02202.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction

from qexp.simulator.circuits import active_qubits
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.pauli_noise import LETTERS, Mixture, PauliNoise

if TYPE_CHECKING:
    import stim

Bits: TypeAlias = NDArray[np.bool_]
Pattern: TypeAlias = tuple[tuple[int, int], ...]
"""Resets of the noise in one shot: index of the stop, and a mask of its qubits."""

# Gates by Qiskit's name as gates that are applied one after the other, up to the global phase.
# Each is stim's name and the places of its qubits. Of these, Paulis change no frame.
_GATES: dict[str, tuple[tuple[str, tuple[int, ...]], ...]] = {
    "id": (),
    "x": (("X", (0,)),),
    "y": (("Y", (0,)),),
    "z": (("Z", (0,)),),
    "s": (("S", (0,)),),
    "sdg": (("S", (0,)), ("Z", (0,))),
    "sx": (("SQRT_X", (0,)),),
    "sxdg": (("SQRT_X", (0,)), ("X", (0,))),
    "h": (("S", (0,)), ("SQRT_X", (0,)), ("S", (0,))),
    "cz": (("CZ", (0, 1)),),
    "cx": (("CX", (0, 1)),),
    "ecr": (("S", (0,)), ("SQRT_X", (1,)), ("CX", (0, 1)), ("X", (0,))),
    "swap": (("CX", (0, 1)), ("CX", (1, 0)), ("CX", (0, 1))),
}
# Gates with an angle: what a quarter turn is.
_QUARTERS: dict[str, tuple[tuple[str, tuple[int, ...]], ...]] = {
    "rz": (("S", (0,)),),
    "p": (("S", (0,)),),
    "rx": (("SQRT_X", (0,)),),
    "rzz": (("CZ", (0, 1)), ("S", (0,)), ("S", (1,))),
}
_MAX_ANGLE_ERROR = 1e-9

_MAX_SHOTS = 1 << 14
"""Shots at a time, which bounds the memory. The shots that a seed gives depend on it."""

_RESET = LETTERS.index("R")
_FLIPS_X = np.isin(list(LETTERS), ["X", "Y"])
_FLIPS_Z = np.isin(list(LETTERS), ["Y", "Z"])


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


class CliffordFrames:
    """Simulates the Clifford circuits of a noisy device.

    Example:
        >>> frames = CliffordFrames(NoisyDevice(backend))
        >>> frames.objection(isa_circuit)  # None: it can be simulated
        >>> program = frames.compile(isa_circuit)
        >>> bits = sample(program, 4096, np.random.default_rng(7))  # (4096, clbits)

    Args:
        device: The device.
        approximate: Approximate errors that are no mixture of Paulis and resets, see
            `pauli_noise`; False: object to circuits that have one.
    """

    def __init__(self, device: NoisyDevice, *, approximate: bool = False) -> None:
        self._device = device
        self._noise = PauliNoise(device)
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

        Args:
            circuit: An ISA circuit.
            qubits: The physical qubit behind each of its qubits; None: they are the physical ones.

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
            if name == "delay":
                noise = self._noise.of_delay(instruction, physical[0])
            else:
                noise = self._noise.of_gate(name, physical)
        except ValueError as error:
            raise NoCliffordError(f"the error of {label(name, physical)}: {error}") from None
        if noise is None:
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
        resets = float(noise.probabilities[_reset_masks(len(where)) > 0].sum())
        if resets:
            program.mean_resets += resets
            _add_stop(program, step)
        else:
            program.steps.append(step)


def label(name: str, qubits: tuple[int, ...]) -> str:
    """Return an instruction with its physical qubits as text, such as `cz 3 4`."""
    return " ".join([name, *map(str, qubits)])


def _gates(instruction: CircuitInstruction) -> tuple[tuple[str, tuple[int, ...]], ...]:
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
            return _GATES[name]
        if name in _QUARTERS:
            angle = instruction.params[0]
            if not isinstance(angle, int | float) and angle.parameters:
                raise NoCliffordError("it has parameters")
            turns = round(float(angle) / (math.pi / 2))
            if abs(float(angle) - turns * math.pi / 2) <= _MAX_ANGLE_ERROR:
                return _QUARTERS[name] * (turns % 4)
            raise NoCliffordError(f"it has {name}({float(angle):.6g}), which is no Clifford gate")
    raise NoCliffordError(f"it has '{name}', and only Clifford gates of fixed names are known here")


def _add_gate(program: Program, name: str, qubits: tuple[int, ...]) -> None:
    program.gates[-1].append(name, qubits)
    if name not in {"X", "Y", "Z"}:
        program.steps.append(Step(name, qubits))


def _add_stop(program: Program, step: Step) -> None:
    import stim

    step = step._replace(stop=len(program.stops))
    program.steps.append(step)
    program.stops.append(step)
    program.gates.append(stim.Circuit())


def predicted_cost(program: Program, shots: int) -> tuple[float, int]:
    """Return the CPU seconds and the bytes of memory that `sample` takes, roughly.

    Args:
        program: The program.
        shots: Number of shots.
    """
    block = min(shots, _MAX_SHOTS)
    patterns = 1 + shots * -math.expm1(-program.mean_resets)
    per_step_s = 2e-6 * math.ceil(shots / _MAX_SHOTS) + 5e-9 * shots
    per_pattern_s = 4e-5 + 1.5e-7 * len(program.stops)
    seconds = len(program.steps) * per_step_s + patterns * per_pattern_s
    num_reads = len(program.reads)
    num_bytes = block * (2 * program.num_qubits + 3 * num_reads) + shots * program.num_clbits
    return seconds, num_bytes


def sample(program: Program, shots: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Sample a program.

    Args:
        program: The program.
        shots: Number of shots, which are independent.
        rng: Decides every bit.

    Returns:
        Shape (shots, clbits), readout errors included; a bit that nothing is read into is 0.
    """
    bits = np.zeros((shots, program.num_clbits), dtype=np.uint8)
    for start in range(0, shots, _MAX_SHOTS):
        block = bits[start : start + _MAX_SHOTS]
        outcomes, resets = _propagate(program, len(block), rng)
        patterns = sorted(set(resets))
        row = {pattern: index for index, pattern in enumerate(patterns)}
        references = np.array(list(_references(program, patterns)), dtype=bool)
        outcomes ^= references.reshape(len(patterns), -1)[[row[one] for one in resets]].T
        for read, outcome in zip(program.reads, outcomes, strict=True):
            flipped = rng.random(len(block)) < np.where(
                outcome, read.readout[1, 0], read.readout[0, 1]
            )
            block[:, read.clbit] = outcome ^ flipped
    return bits


def _propagate(
    program: Program, shots: int, rng: np.random.Generator
) -> tuple[Bits, list[Pattern]]:
    """Propagate the frames of all shots.

    Returns:
        Flips of the outcomes, shape (measurements, shots), and the resets of each shot.
    """
    x = np.zeros((program.num_qubits, shots), dtype=bool)
    z = np.array([_coins(shots, rng) for _ in x]).reshape(x.shape)
    outcomes: list[Bits] = []
    resets: list[list[tuple[int, int]]] = [[] for _ in range(shots)]
    for step in program.steps:
        first, last = step.qubits[0], step.qubits[-1]
        match step.name:
            case "S":
                z[first] ^= x[first]
            case "SQRT_X":
                x[first] ^= z[first]
            case "CZ":
                z[first] ^= x[last]
                z[last] ^= x[first]
            case "CX":
                x[last] ^= x[first]
                z[first] ^= z[last]
            case "NOISE":
                _add_errors(step, x, z, resets, rng)
            case "M":
                outcomes.append(x[first].copy())
                z[first] ^= _coins(shots, rng)
            case "R":
                x[first] = False
                z[first] = _coins(shots, rng)
            case name:
                raise AssertionError(name)
    return np.array(outcomes).reshape(-1, shots), [tuple(one) for one in resets]


def _add_errors(
    step: Step, x: Bits, z: Bits, resets: list[list[tuple[int, int]]], rng: np.random.Generator
) -> None:
    """Let the noise of a step happen in some shots."""
    assert step.noise is not None
    cumulative = np.cumsum(step.noise.probabilities)
    cumulative /= cumulative[-1]
    # The first is "no error", so that what lies beyond it is an error.
    drawn = rng.random(x.shape[1])
    hit = np.flatnonzero(drawn >= cumulative[0])
    if not len(hit):
        return
    kinds = np.searchsorted(cumulative, drawn[hit], side="right")
    rest = kinds
    for qubit in step.qubits:
        rest, letters = np.divmod(rest, len(LETTERS))
        x[qubit, hit] ^= _FLIPS_X[letters]
        z[qubit, hit] ^= _FLIPS_Z[letters]
        reset = hit[letters == _RESET]
        if len(reset):
            x[qubit, reset] = False
            z[qubit, reset] = _coins(len(reset), rng)
    masks = _reset_masks(len(step.qubits))[kinds]
    for shot, mask in zip(hit[masks > 0].tolist(), masks[masks > 0].tolist(), strict=True):
        resets[shot].append((step.stop, mask))


def _reset_masks(num_qubits: int) -> NDArray[np.intp]:
    """Return the qubits that each entry of a mixture resets: bit k is for the k-th qubit."""
    is_reset = (np.arange(len(LETTERS)) == _RESET).astype(np.intp)
    return is_reset if num_qubits == 1 else (2 * is_reset[:, None] + is_reset).ravel()


def _coins(count: int, rng: np.random.Generator) -> Bits:
    drawn = np.frombuffer(rng.bytes(-(-count // 8)), dtype=np.uint8)
    return np.unpackbits(drawn, count=count).astype(bool)


def _references(program: Program, patterns: Sequence[Pattern]) -> Iterator[list[bool]]:
    """Yield the outcomes without Paulis of each pattern of resets; patterns are sorted."""
    import stim

    # The k-th has the first k resets of the latest pattern, and is on its way to the next one.
    path = [_Reference(program, stim.TableauSimulator())]
    latest: Pattern = ()
    for pattern in patterns:
        shared = 0
        while shared < min(len(latest), len(pattern)) and latest[shared] == pattern[shared]:
            shared += 1
        del path[shared + 1 :]
        for stop, mask in pattern[shared:]:
            path[-1].advance(stop)
            path.append(path[-1].copy())
            path[-1].reset(mask)
        latest = pattern
        end = path[-1].copy()
        end.advance(len(program.stops))
        yield end.outcomes


class _Reference:
    """A state of stim's on its way through a program, in which random outcomes are 0."""

    def __init__(self, program: Program, state: stim.TableauSimulator) -> None:
        self._program = program
        self._state = state
        self._next = 0  # the first stop that is not done; nor are the gates before it
        self.outcomes: list[bool] = []

    def copy(self) -> _Reference:
        other = _Reference(self._program, self._state.copy())
        other._next, other.outcomes = self._next, self.outcomes.copy()
        return other

    def advance(self, stop: int) -> None:
        """Do all stops before this one."""
        program, do = self._program, self._state.do
        for index in range(self._next, stop):
            do(program.gates[index])
            step = program.stops[index]
            if step.name == "M":
                self.outcomes.append(self._measure(step.qubits[0]))
            elif step.name == "R":
                self._to_zero(step.qubits[0])
        self._next = max(self._next, stop)

    def reset(self, mask: int) -> None:
        """Reset some qubits of the next stop, after what it does."""
        step = self._program.stops[self._next]
        self.advance(self._next + 1)
        for place, qubit in enumerate(step.qubits):
            if mask >> place & 1:
                self._to_zero(qubit)

    def _measure(self, qubit: int) -> bool:
        expected = self._state.peek_z(qubit)
        if expected == 0:
            self._state.postselect_z(qubit, desired_value=False)
        return bool(expected == -1)

    def _to_zero(self, qubit: int) -> None:
        if self._measure(qubit):
            self._state.x(qubit)
