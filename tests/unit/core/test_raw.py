"""Raw data that are divided by PUB are put together again as they were."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from samplomatic.quantum_program import QuantumProgramResult

from qexp.core.jsonable import dumps
from qexp.core.raw import RawData, assemble_raw, divide_raw, joined_raw


def task(index: int, mitigation: str | None, **more: Any) -> dict[str, Any]:
    return {"version": "0.1", "mitigation": mitigation, "program_item_index": index, **more}


def item(seed: int, shape: tuple[int, ...], bits: int = 11) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "_meas": rng.random((*shape, 8, bits)) < 0.5,
        "measurement_flips._meas": rng.random((*shape, 1, bits)) < 0.5,
    }


def received() -> QuantumProgramResult:
    """Two PUBs, of two items and of one, and a calibration."""
    pairs = {"param_shape": (2,), "param_basis_pairs": [((0,), "ZZ"), ((1,), "XX")]}
    signed = {**item(2, (4, 2)), "pauli_signs": np.ones((4, 2, 3), bool)}
    return QuantumProgramResult(
        [item(0, (4, 2)), item(1, (4, 2)), signed, item(3, (4,))],
        passthrough_data={
            "qiskit_mitigation": [
                task(0, "gate_folding", noise_factors=[1, 3], **pairs),
                task(2, "pec", **pairs),
                task(3, "trex"),
            ]
        },
    )


def restored(raw: RawData, index: int) -> QuantumProgramResult:
    """Put a PUB together after its passthrough went through JSON, as in an archive."""
    fields = dict(raw.pubs[index].data.items())
    fields["passthrough"] = json.loads(dumps(fields["passthrough"]))
    calibration = None if raw.calibration is None else dict(raw.calibration.data.items())
    return assemble_raw(fields, calibration)


def test_each_pub_gets_its_items_and_the_calibration() -> None:
    whole = received()
    raw = divide_raw(whole)
    for index, numbers in enumerate([(0, 1, 3), (2, 3)]):
        found = restored(raw, index)
        assert len(found) == len(numbers)
        for number, one in zip(numbers, found, strict=True):
            assert set(one) == set(whole[number])
            for name, array in one.items():
                assert array.dtype == bool
                np.testing.assert_array_equal(array, whole[number][name])
        own, trex = found.passthrough_data["qiskit_mitigation"]
        original = whole.passthrough_data["qiskit_mitigation"][index]
        assert own == {**original, "program_item_index": 0}
        assert trex == task(len(numbers) - 1, "trex")


def test_bits_are_packed() -> None:
    raw = divide_raw(received())
    assert raw.pubs[0].data.meas_1.array.shape == (4, 2, 8, 2)
    assert raw.pubs[0].data.meas_1.num_bits == 11
    assert raw.pubs[1].data.signs_0.num_bits == 3
    assert set(raw.pubs[0].data) == {"passthrough", "meas_0", "flips_0", "meas_1", "flips_1"}


def test_evaluating_changes_no_raw_data() -> None:
    whole = received()
    raw = divide_raw(whole)
    before = raw.pubs[0].data.meas_0.array.copy()
    # As IBM's client does.
    array = whole[0]["_meas"]
    array ^= whole[0]["measurement_flips._meas"]
    np.testing.assert_array_equal(raw.pubs[0].data.meas_0.array, before)


def test_parts_of_jobs_are_taken_and_joined() -> None:
    raw = divide_raw(received())
    first, second = raw.part(0, 1), raw.part(1, 2)
    assert joined_raw([first, second]) == raw
    assert joined_raw([]) is None
    assert second.pubs == raw.pubs[1:]
    assert second.calibration is raw.calibration


def test_a_job_without_calibration_has_none() -> None:
    whole = QuantumProgramResult(
        [item(0, (1, 1))], passthrough_data={"qiskit_mitigation": [task(0, None)]}
    )
    raw = divide_raw(whole)
    assert raw.calibration is None
    assert len(restored(raw, 0)) == 1
