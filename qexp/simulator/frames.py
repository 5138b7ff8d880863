"""Shots of Clifford circuits with noise of Paulis and resets, on hundreds of qubits.

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
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Clbit

from qexp.simulator.aer import Outcomes, child
from qexp.simulator.clifford import CliffordCompiler, NoCliffordError, Program, Step
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.observables import Basis, Moments, moments
from qexp.simulator.pauli_noise import LETTERS, RESET_LETTER, reset_masks
from qexp.simulator.protocols import Cost, Measurement, Work
from qexp.simulator.states import rotation

if TYPE_CHECKING:
    import stim

Bits: TypeAlias = NDArray[np.bool_]
Pattern: TypeAlias = tuple[tuple[int, int], ...]
"""Resets of the noise in one shot: index of the stop, and a mask of its qubits."""

_MAX_SHOTS = 1 << 14
"""Shots at a time, which bounds the memory. The shots that a seed gives depend on it."""

_FLIPS_X = np.isin(list(LETTERS), ["X", "Y"])
_FLIPS_Z = np.isin(list(LETTERS), ["Y", "Z"])


class CliffordFrames:
    """Samples and measures Clifford circuits by frames; a method, see `protocols`.

    Args:
        device: The device to simulate; it says whether its noise may be approximated.
        channels: Its channels.
    """

    name = "clifford"

    def __init__(self, device: NoisyDevice, channels: DensityMatrix) -> None:
        self._compiler = CliffordCompiler(device, channels, approximate=device.approximate)
        basis_gates = device.target.operation_names
        self._rotation = cache(lambda letter: rotation(letter, basis_gates))
        self._compiled = lru_cache(maxsize=1)(self._compile)

    def objection(self, work: Work) -> str | None:
        """Return why a circuit cannot be simulated by frames, as a clause about it, or None."""
        if work.is_estimated and work.shots is None:
            return "it has no exact expectation values"
        compiled = self._compiled(work)
        return compiled if isinstance(compiled, str) else None

    def simulation(self, work: Work) -> FramedCircuit:
        """Return a circuit without objection."""
        program = self._compiled(work)
        assert isinstance(program, Program)
        return FramedCircuit(work, program, self.measured_in)

    def measured_in(self, work: Work, basis: Basis) -> Program:
        """Return the work's circuit with a measurement of each measured qubit at its end."""
        circuit = work.circuit.copy()
        for qubit in basis.measured:
            bit = Clbit()
            circuit.add_bits([bit])
            where = work.qubits[qubit]
            circuit.compose(self._rotation(basis.letters[qubit]), [where], inplace=True)
            circuit.measure(where, bit)
        return self._compiler.compile(circuit)

    def _compile(self, work: Work) -> Program | str:
        """Return the program, of an estimation one with all that any basis needs; or why not."""
        try:
            if work.is_estimated:
                return self.measured_in(work, Basis("Y" * len(work.qubits), ()))
            return self._compiler.compile(work.circuit)
        except NoCliffordError as error:
            return str(error)


class FramedCircuit:
    """A Clifford circuit that is sampled, or measured in bases.

    Args:
        work: The circuit, without parameters.
        program: The same, compiled.
        measured_in: Compiles it with a measurement.
    """

    def __init__(
        self, work: Work, program: Program, measured_in: Callable[[Work, Basis], Program]
    ) -> None:
        self._work = work
        self._program = program
        self._measured_in = measured_in
        assert work.shots is not None
        self._shots = work.shots

    @property
    def approximation(self) -> dict[str, Any]:
        """The noise that is approximated; empty where it is exact."""
        return self._program.approximation

    @property
    def cost(self) -> Cost:
        """The predicted cost of all parameter sets and bases."""
        once = predicted_cost(self._program, self._shots)
        return once._replace(seconds=once.seconds * len(self._work.values) * self._work.bases)

    def sample(
        self, generator: Callable[[int], np.random.Generator], sets: range
    ) -> Iterator[Outcomes]:
        """Draw the shots of each parameter set, all of them one by one."""
        ones = np.ones(self._shots, dtype=np.int64)
        for index in sets:
            yield Outcomes(sample(self._program, self._shots, generator(index)), ones)

    def measurement(self, sequence: np.random.SeedSequence) -> Measurement:
        """Return the circuit as one that is measured in bases."""
        return _MeasuredFrames(partial(self._measured_in, self._work), self._shots, sequence)


class _MeasuredFrames:
    """A circuit whose shots are drawn anew in each basis."""

    chunk = 1

    def __init__(
        self,
        measured_in: Callable[[Basis], Program],
        shots: int,
        sequence: np.random.SeedSequence,
    ) -> None:
        self._measured_in = measured_in
        self._shots = shots
        self._sequence = sequence
        self._rng = np.random.default_rng(sequence)

    def prepare(self, sets: NDArray[np.intp]) -> None:
        """Begin the stream of a parameter set."""
        self._rng = np.random.default_rng(child(self._sequence, int(sets[0])))

    def measure(self, sets: NDArray[np.intp], bases: Sequence[Basis]) -> list[Moments]:
        """Sample the circuit in each basis."""
        found = []
        for basis in bases:
            drawn = sample(self._measured_in(basis), self._shots, self._rng)
            bits = np.zeros((self._shots, len(basis.letters)), dtype=np.uint8)
            # The circuit's own classical bits come first.
            own = drawn.shape[1] - len(basis.measured)
            bits[:, basis.measured] = drawn[:, own:]
            found.append(moments(np.ones((len(sets), self._shots)), bits, basis))
        return found


def predicted_cost(program: Program, shots: int) -> Cost:
    """Return roughly what `sample` takes.

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
    return Cost(seconds, num_bytes)


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
    return np.array(outcomes, dtype=bool).reshape(-1, shots), [tuple(one) for one in resets]


def _add_errors(
    step: Step, x: Bits, z: Bits, resets: list[list[tuple[int, int]]], rng: np.random.Generator
) -> None:
    """Let the noise of a step happen in some shots."""
    assert step.noise is not None
    cumulative = np.cumsum(step.noise.probabilities)
    cumulative /= cumulative[-1]
    # The first is "no error", so that what lies beyond it is an error.
    drawn = rng.random(size=(x.shape[1],))
    hit = np.flatnonzero(drawn >= cumulative[0])
    if not len(hit):
        return
    kinds = np.searchsorted(cumulative, drawn[hit], side="right")
    rest = kinds
    for qubit in step.qubits:
        rest, letters = np.divmod(rest, len(LETTERS))
        x[qubit, hit] ^= _FLIPS_X[letters]
        z[qubit, hit] ^= _FLIPS_Z[letters]
        reset = hit[letters == RESET_LETTER]
        if len(reset):
            x[qubit, reset] = False
            z[qubit, reset] = _coins(len(reset), rng)
    masks = reset_masks(len(step.qubits))[kinds]
    for shot, mask in zip(hit[masks > 0].tolist(), masks[masks > 0].tolist(), strict=True):
        resets[shot].append((step.stop, mask))


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
