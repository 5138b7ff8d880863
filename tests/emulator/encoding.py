"""Seeds from what a job contains, and the parts of results that say what ran when."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from qiskit import QuantumCircuit


def circuit_outline(circuit: QuantumCircuit) -> list[Any]:
    """What a circuit does, without names and ids that differ from run to run."""
    from qiskit import QuantumCircuit

    order = {parameter: index for index, parameter in enumerate(circuit.parameters)}

    def outline(value: Any) -> Any:
        if isinstance(value, QuantumCircuit):
            return circuit_outline(value)
        if value in order:
            return f"#{order[value]}"
        return str(value)

    return [
        [
            instruction.operation.name,
            [outline(value) for value in instruction.operation.params],
            [circuit.find_bit(qubit).index for qubit in instruction.qubits],
            [circuit.find_bit(clbit).index for clbit in instruction.clbits],
        ]
        for instruction in circuit.data
    ]


def seed_of(circuits: Iterable[QuantumCircuit], *others: Any) -> int:
    """A seed that equal jobs share, whatever ran before them.

    Args:
        circuits: The job's circuits.
        *others: What else decides the outcome: arrays, numbers, strings.
    """
    digest = hashlib.sha256()
    for circuit in circuits:
        digest.update(json.dumps(circuit_outline(circuit)).encode())
    for other in others:
        plain = other.tolist() if isinstance(other, np.ndarray) else other
        digest.update(json.dumps(plain, default=str).encode())
    return int.from_bytes(digest.digest()[:4], "big") >> 1 or 1


def chunks(
    sizes: list[int], start: datetime, stop: datetime
) -> list[tuple[datetime, datetime, int, slice]]:
    """When which elements ran: PUB after PUB, one with several elements in two chunks.

    Args:
        sizes: Number of elements (the product of the shape) of each PUB or item.
        start: When the first began.
        stop: When the last ended.

    Returns:
        `(start, stop, index, elements)` per chunk.
    """
    parts: list[tuple[int, slice]] = []
    for index, size in enumerate(sizes):
        half = math.ceil(size / 2)
        parts.append((index, slice(0, half)))
        if size > half:
            parts.append((index, slice(half, size)))
    step = (stop - start) / max(len(parts), 1)
    return [
        (start + step * place, start + step * (place + 1), index, elements)
        for place, (index, elements) in enumerate(parts)
    ]


def execution_spans(
    shapes: list[tuple[int, ...]], shots: list[int], start: datetime, stop: datetime
) -> Any:
    """`ExecutionSpans` as the legacy primitives have them in their metadata."""
    from qiskit_ibm_runtime.execution_span import DoubleSliceSpan, ExecutionSpans

    sizes = [math.prod(shape) for shape in shapes]
    return ExecutionSpans(
        [
            DoubleSliceSpan(
                begin,
                end,
                {index: ((*shapes[index], shots[index]), elements, slice(0, shots[index]))},
            )
            for begin, end, index, elements in chunks(sizes, start, stop)
        ]
    )


def chunk_timing(shapes: list[tuple[int, ...]], start: datetime, stop: datetime) -> list[Any]:
    """The same for the executor, in the models of schema v2.0."""
    from ibm_quantum_schemas.executor.version_2_0.models import ChunkPart, ChunkSpan

    sizes = [math.prod(shape) for shape in shapes]
    return [
        ChunkSpan(
            start=begin,
            stop=end,
            parts=[
                ChunkPart(
                    idx_item=index,
                    size=elements.stop - elements.start,
                    permutation=list(range(len(shapes[index]))),
                    element_range=(elements.start, elements.stop, 1),
                )
            ],
        )
        for begin, end, index, elements in chunks(sizes, start, stop)
    ]
