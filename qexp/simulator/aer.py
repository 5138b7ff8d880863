"""Runs of many circuits on Qiskit Aer, and seeds that make their random numbers independent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import ForLoopOp
from qiskit.exceptions import QiskitError
from qiskit.providers import BackendV2
from qiskit.result import Result

SEED_STRIDE = 2113
"""Aer seeds circuit k of a run with seed + 2113 k and, where it simulates shot by shot, shot j of
that circuit with seed + 2113 k + j (src/controllers/controller_execute.hpp of Qiskit Aer)."""


_CUT_JUMP = "Invalid jump destination"
"""Aer drops what follows the last measurement, and the ends of branches with it."""


class SimulationError(Exception):
    """A simulation failed, or a circuit has no such simulation; one line."""


class Outcomes(NamedTuple):
    """The distinct outcomes of one circuit."""

    bits: NDArray[np.uint8]  # shape (outcomes, clbits)
    counts: NDArray[np.int64]  # shots with each outcome


def child(sequence: np.random.SeedSequence, index: int) -> np.random.SeedSequence:
    """Return the `index`-th child of a sequence without spawning those before it."""
    return np.random.SeedSequence(entropy=sequence.entropy, spawn_key=(*sequence.spawn_key, index))


def as_int(sequence: np.random.SeedSequence) -> int:
    """Return a positive integer of 31 bits, for APIs (Qiskit, Aer) that take a plain seed."""
    return int(sequence.generate_state(1, np.uint32)[0] >> 1) or 1


def run_aer(simulator: BackendV2, circuits: Sequence[QuantumCircuit], **options: Any) -> Result:
    """Run circuits on a simulator in one call.

    Raises:
        SimulationError: The simulator reports a failure.
    """
    runnable = [_runnable(each) for each in circuits]
    result = _result(simulator, runnable, options)
    failures = _failures(result)
    if any(_CUT_JUMP in failure for failure in failures):
        result = _result(simulator, runnable, {**options, "enable_truncation": False})
        failures = _failures(result)
    if failures:
        raise SimulationError(f"the simulation failed: {' '.join('; '.join(failures).split())}")
    return result


def _result(
    simulator: BackendV2, circuits: list[QuantumCircuit], options: Mapping[str, Any]
) -> Result:
    try:
        return simulator.run(circuits, **options).result()
    except (QiskitError, KeyError) as error:
        reason = getattr(error, "message", repr(error))
        raise SimulationError(f"the simulation failed: {' '.join(reason.split())}") from error


def _failures(result: Result) -> list[str]:
    """Return why circuits failed; none where all are done."""
    if result.success:
        return []
    return [str(one.status) for one in result.results if not one.success] or [str(result.status)]


def _runnable(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a circuit whose loops have no parameter that their body lacks: Aer trips over it."""
    if not circuit.has_control_flow_op():
        return circuit
    runnable = circuit.copy_empty_like()
    for item in circuit.data:
        if item.is_control_flow():
            operation = item.operation
            blocks = [_runnable(block) for block in operation.blocks]
            operation = operation.replace_blocks(blocks)
            if isinstance(operation, ForLoopOp):
                indices, parameter, body = operation.params
                if parameter not in body.parameters:
                    operation = ForLoopOp(indices, None, body)
            item = item.replace(operation=operation)  # noqa: PLW2901
        runnable._append(item)
    return runnable


def sample_circuits(
    run: Callable[..., Result], circuits: Sequence[QuantumCircuit], *, shots: int, seed: int
) -> list[Outcomes]:
    """Sample circuits in one call; no two shots share random numbers, see `num_seeds`.

    `run` runs circuits without parameters with `shots` and `seed_simulator`; the seed is that of
    the first shot.
    """
    if not circuits:
        return []
    stride = _stride(shots)
    # Without empty circuits in between, which cost next to nothing, shot 2113 of a circuit would
    # get the random numbers of shot 0 of the next one.
    spacing = [QuantumCircuit(1)] * (stride - 1)
    spaced = [each for circuit in circuits for each in (circuit, *spacing)]
    result = run(spaced, shots=shots, seed_simulator=seed)
    return [
        # Circuits without measurements have no counts.
        _outcomes(getattr(one.data, "counts", {"0x0": shots}), circuit.num_clbits)
        for circuit, one in zip(circuits, result.results[::stride], strict=True)
    ]


def num_seeds(shots: int, circuits: int) -> int:
    """Return the number of seeds that `sample_circuits` uses, from its seed on."""
    return SEED_STRIDE * _stride(shots) * circuits


def max_circuits(shots: int, limit: int) -> int:
    """Return the number of circuits of one call for which Aer gets at most `limit` circuits."""
    return max(1, limit // _stride(shots))


def _stride(shots: int) -> int:
    return math.ceil(shots / SEED_STRIDE)


def _outcomes(counts: Mapping[str, int], num_bits: int) -> Outcomes:
    """Unpack Aer's outcomes, which are hexadecimal numbers: bit i is classical bit i."""
    num_bytes = -(-num_bits // 8)
    data = b"".join(int(key, 16).to_bytes(num_bytes, "little") for key in counts)
    packed = np.frombuffer(data, np.uint8).reshape(len(counts), num_bytes)
    bits = np.unpackbits(packed, axis=1, count=num_bits, bitorder="little")
    return Outcomes(bits, np.fromiter(counts.values(), np.int64))
