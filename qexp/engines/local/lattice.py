"""Devices with the noise of Paulis alone, on a lattice of any size: `conf/backend/lattice.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field

from qexp.errors import ConfigError

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

Shape: TypeAlias = Literal["grid", "heavy_hex"]
_Length: TypeAlias = Annotated[int, Field(gt=0, le=100)]
_Error: TypeAlias = Annotated[float, Field(ge=0, le=0.5)]
_Duration: TypeAlias = Annotated[float, Field(ge=0)]

_DATE = "2000-01-01T00:00:00+00:00"
"""A calibration has dates; this one was never measured."""


def lattice(
    rows: _Length = 5,
    columns: _Length = 5,
    shape: Shape = "grid",
    error_1q: _Error = 3e-4,
    error_2q: _Error = 3e-3,
    readout_error: _Error = 1e-2,
    duration_1q_ns: _Duration = 32.0,
    duration_2q_ns: _Duration = 68.0,
    readout_duration_ns: _Duration = 1500.0,
) -> BackendV2:
    """Return a device whose errors are Paulis and flipped bits, all qubits alike.

    A gate is followed by depolarisation; idle qubits keep their state. So the quick simulation of
    Clifford circuits is exact here.

    Args:
        rows: Number of rows.
        columns: Qubits of a row; one row is a line.
        shape: `grid`; or `heavy_hex`, as IBM's devices: every fourth qubit of a row is joined to
            the next row by a qubit between them, alternately from the first and the third on.
        error_1q: Average infidelity of `sx`, `x` and `id`; `rz` has none.
        error_2q: Average infidelity of `cz`.
        readout_error: Probability that an outcome is read as the other one.
        duration_1q_ns: Duration of `sx`, `x` and `id` in nanoseconds.
        duration_2q_ns: Duration of `cz`.
        readout_duration_ns: Duration of a measurement, and of a reset.

    Raises:
        ConfigError: The rows would not be joined.
    """
    if shape == "heavy_hex" and rows > 1 and columns < 3:
        raise ConfigError(
            f"backend.columns: got {columns}, too few to join {rows} rows of a heavy_hex lattice; "
            f"allowed: 3 to 100"
        )
    errors = error_1q, error_2q, readout_error
    return _lattice(
        rows, columns, shape, errors, (duration_1q_ns, duration_2q_ns, readout_duration_ns)
    )


@lru_cache(maxsize=1)
def _lattice(
    rows: int,
    columns: int,
    shape: Shape,
    errors: tuple[float, float, float],
    durations_ns: tuple[float, float, float],
) -> BackendV2:
    """Return the same object for calls in a row, which the points of a sweep share."""
    from qexp.engines.local.archived_device import ArchivedDevice

    pairs = list(_pairs(rows, columns, shape))
    num_qubits = 1 + max((max(pair) for pair in pairs), default=0)
    single = [[qubit] for qubit in range(num_qubits)]
    both = [list(pair) for a, b in pairs for pair in ((a, b), (b, a))]
    gates = dict.fromkeys(("id", "rz", "sx", "x"), single) | ({"cz": both} if both else {})
    error_1q, error_2q, readout_error = errors
    duration_1q_ns, duration_2q_ns, readout_duration_ns = durations_ns
    figures = {
        "rz": {"gate_error": 0.0, "gate_length": 0.0},
        "cz": {"gate_error": error_2q, "gate_length": duration_2q_ns},
        "reset": {"gate_length": readout_duration_ns},
    }
    one_qubit = {"gate_error": error_1q, "gate_length": duration_1q_ns}
    readout = {
        "readout_error": readout_error,
        "prob_meas0_prep1": readout_error,
        "prob_meas1_prep0": readout_error,
        "readout_length": readout_duration_ns,
    }
    name = f"lattice_{shape}_{rows}x{columns}"
    configuration = {
        "backend_name": name,
        "backend_version": "1",
        "description": f"Pauli noise on {rows} x {columns} qubits of a lattice ({shape})",
        "online_date": _DATE,
        "n_qubits": num_qubits,
        "basis_gates": list(gates),
        "gates": [
            {
                "name": gate,
                "parameters": ["theta"] if gate == "rz" else [],
                "qasm_def": "",
                "coupling_map": where,
            }
            for gate, where in gates.items()
        ],
        "coupling_map": both,
        "supported_instructions": [*gates, "delay", "measure", "reset", *_CONTROL_FLOW],
        "supported_features": ["qasm3"],
        "dt": 1.0,
        "dtm": 1.0,
        "local": False,
        "simulator": False,
        "conditional": False,
        "open_pulse": False,
        "memory": True,
        "max_shots": 1_000_000,
    }
    properties = {
        "backend_name": name,
        "backend_version": "1",
        "last_update_date": _DATE,
        "qubits": [_parameters(readout) for _ in single],
        "gates": [
            {
                "gate": gate,
                "name": "_".join([gate, *map(str, qubits)]),
                "qubits": qubits,
                "parameters": _parameters(figures.get(gate, one_qubit)),
            }
            for gate, where in (gates | {"reset": single}).items()
            for qubits in where
        ],
        "general": [],
    }
    return ArchivedDevice(configuration, properties)


_CONTROL_FLOW = ("if_else", "for_loop", "switch_case")


def _parameters(figures: dict[str, float]) -> list[dict[str, Any]]:
    """Return figures as a calibration has them; lengths are in nanoseconds."""
    return [
        {"date": _DATE, "name": name, "unit": "ns" if "length" in name else "", "value": value}
        for name, value in figures.items()
    ]


def _pairs(rows: int, columns: int, shape: Shape) -> Iterator[tuple[int, int]]:
    """Yield the coupled qubits; rows are numbered one after the other, and what joins them last."""
    bridge = rows * columns
    for row in range(rows):
        first = row * columns
        yield from ((qubit, qubit + 1) for qubit in range(first, first + columns - 1))
        if row == rows - 1:
            continue
        if shape == "grid":
            yield from ((qubit, qubit + columns) for qubit in range(first, first + columns))
            continue
        for qubit in range(first + 2 * (row % 2), first + columns, 4):
            yield from ((qubit, bridge), (bridge, qubit + columns))
            bridge += 1
