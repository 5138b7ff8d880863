"""Raw data of client-side Estimators: the bits, flips and signs behind each value.

IBM's client receives them as a `QuantumProgramResult`, evaluates them and throws them away. Here
they are divided by PUB, as arrays with names, and put together again for the client's own functions
(`qiskit_mitigation.load_tasks_from_result`). The arrays of an item, a circuit and one noise factor
of it, begin with the axes randomization and configuration (a parameter set in a basis):

- `meas_K`: outcomes of item K, bits with axes (randomization, configuration, shot);
- `flips_K`: bits that twirling flipped before they were measured, the same for all shots;
- `signs_K`: of PEA and PEC, 1 where a Pauli was injected with a negative weight.

PEA has one more axis at the beginning, the noise factor. `passthrough` is what the client notes of
a PUB: observables, parameter sets and bases, noise factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qiskit.primitives import PubResult
    from samplomatic.quantum_program import QuantumProgramResult

_KEYS: Final = {"_meas": "meas", "measurement_flips._meas": "flips", "pauli_signs": "signs"}
_NAMES: Final = {name: key for key, name in _KEYS.items()}
_TASKS: Final = "qiskit_mitigation"


@dataclass(frozen=True)
class RawData:
    """Raw data of consecutive PUBs of a job."""

    pubs: tuple[PubResult, ...]  # of each PUB
    calibration: PubResult | None = None  # of the readout (TREX), which all PUBs of the job share

    def part(self, first: int, stop: int) -> RawData:
        """Return those of some of the PUBs."""
        return replace(self, pubs=self.pubs[first:stop])


def joined_raw(parts: Sequence[RawData]) -> RawData | None:
    """Return the raw data of parts of a job, in their order; None if there are none."""
    if not parts:
        return None
    return replace(parts[0], pubs=tuple(pub for part in parts for pub in part.pubs))


def divide_raw(result: QuantumProgramResult) -> RawData:
    """Return the raw data of a job by PUB, from an Estimator's result that is not evaluated yet."""
    tasks, calibration = [], None
    passthrough: Any = result.passthrough_data
    for task in passthrough[_TASKS]:
        if task["mitigation"] == "trex":
            calibration = task
        else:
            tasks.append(task)
    end = len(result) if calibration is None else calibration["program_item_index"]
    stops = [*(task["program_item_index"] for task in tasks[1:]), end]
    pubs = []
    for task, stop in zip(tasks, stops, strict=True):
        first = task["program_item_index"]
        noted = [{**task, "program_item_index": 0}]
        if calibration is not None:
            noted.append({**calibration, "program_item_index": stop - first})
        pubs.append(_packed(result[first:stop], {_TASKS: noted}))
    return RawData(tuple(pubs), None if calibration is None else _packed([result[end]], None))


def assemble_raw(
    pub: Mapping[str, Any], calibration: Mapping[str, Any] | None
) -> QuantumProgramResult:
    """Return the raw data of one PUB, and of its job's calibration, as the client received them.

    Example:
        task, = qiskit_mitigation.load_tasks_from_result(assemble_raw(pub, None))
    """
    from samplomatic.quantum_program import QuantumProgramItemResult, QuantumProgramResult

    passthrough = {_TASKS: [_with_tuples(task) for task in pub["passthrough"][_TASKS]]}
    found = _unpacked(pub) + ([] if calibration is None else _unpacked(calibration))
    items = [QuantumProgramItemResult(item) for item in found]
    return QuantumProgramResult(items, passthrough_data=passthrough)


def _packed(items: Sequence[Mapping[str, Any]], passthrough: Mapping[str, Any] | None) -> PubResult:
    from qiskit.primitives import BitArray, DataBin, PubResult

    fields: dict[str, Any] = {} if passthrough is None else {"passthrough": passthrough}
    for number, item in enumerate(items):
        for key, array in item.items():
            bits = array if 0 in array.shape else BitArray.from_bool_array(array, order="little")
            fields[f"{_KEYS[key]}_{number}"] = bits
    return PubResult(DataBin(**fields, shape=()))


def _unpacked(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    items: dict[int, dict[str, Any]] = {}
    for field, value in fields.items():
        name, _, number = field.rpartition("_")
        if name in _NAMES:
            is_packed = hasattr(value, "to_bool_array")
            array = value.to_bool_array(order="little") if is_packed else value
            items.setdefault(int(number), {})[_NAMES[name]] = array
    return [items[number] for number in sorted(items)]


def _with_tuples(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was noted of a PUB with shapes and indices as tuples, which JSON lacks."""
    noted = dict(task)
    if noted.get("param_shape") is not None:
        noted["param_shape"] = tuple(noted["param_shape"])
    if noted.get("param_basis_pairs") is not None:
        noted["param_basis_pairs"] = [
            (tuple(index), basis) for index, basis in noted["param_basis_pairs"]
        ]
    return noted
