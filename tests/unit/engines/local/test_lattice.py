from __future__ import annotations

import json
import math
import pickle
from typing import Any

import pytest

from qexp.core.jsonable import to_jsonable
from qexp.engines.local.archived_device import ArchivedDevice
from qexp.engines.local.backends import aer, fake
from qexp.engines.local.engine import LocalEngine
from qexp.engines.local.lattice import lattice
from qexp.errors import ConfigError
from qexp.provenance import describe_backend
from qexp.simulator.devices import make_device
from qexp.simulator.noise import NoisyDevice


def coupled(backend: Any) -> set[frozenset[int]]:
    return {frozenset(qubits) for qubits in backend.target["cz"]}


def test_a_grid_joins_neighbours() -> None:
    backend = lattice(2, 3)
    assert (backend.name, backend.num_qubits) == ("lattice_grid_2x3", 6)
    expected = {(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)}
    assert coupled(backend) == set(map(frozenset, expected))
    assert len(backend.target["cz"]) == 2 * len(expected)


def test_one_row_is_a_line() -> None:
    assert coupled(lattice(1, 3)) == {frozenset({0, 1}), frozenset({1, 2})}
    assert lattice(1, 1).num_qubits == 1


def test_a_heavy_hex_lattice_is_that_of_ibms_devices() -> None:
    theirs = fake("fake_torino")
    # Their rows of 15 have 4 qubits between them; the last 4 lead nowhere.
    ours = lattice(7, 15, "heavy_hex")
    assert ours.num_qubits == theirs.num_qubits - 4
    degrees = [
        sorted(
            sum(qubit in pair for pair in coupled(backend)) for qubit in range(backend.num_qubits)
        )
        for backend in (ours, theirs)
    ]
    # Their last 4 are joined to one qubit each, which has a third neighbour by that.
    assert [degree.count(3) for degree in degrees] == [36, 39]
    assert [max(degree) for degree in degrees] == [3, 3]
    assert ours.coupling_map.is_connected()


def test_rows_that_nothing_would_join_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"backend\.columns: got 2, too few to join 3 rows"):
        lattice(3, 2, "heavy_hex")


def test_errors_and_durations_are_as_declared() -> None:
    backend = lattice(
        2,
        2,
        error_1q=1e-3,
        error_2q=2e-2,
        readout_error=0.03,
        duration_1q_ns=20.0,
        duration_2q_ns=50.0,
        readout_duration_ns=700.0,
    )
    target = backend.target
    for name in ("sx", "x", "id"):
        assert target[name][0,].error == 1e-3
        assert target[name][0,].duration == pytest.approx(20e-9)
    assert target["rz"][3,].error == 0
    assert target["cz"][2, 0].error == 2e-2
    assert target["cz"][0, 2].duration == pytest.approx(50e-9)
    assert target["measure"][1,].error == 0.03
    assert target["measure"][1,].duration == target["reset"][1,].duration == pytest.approx(7e-7)
    device = make_device(backend)
    assert isinstance(device, NoisyDevice)
    assert device.relaxation_times_s(0) == (math.inf, math.inf)
    assert device.gate_error("rz", (0,)) is None
    assert device.gate_error("reset", (0,)) is None
    assert device.readout_probabilities(2).tolist() == [[0.97, 0.03], [0.03, 0.97]]


def test_without_errors_it_is_ideal() -> None:
    device = NoisyDevice(lattice(1, 2, error_1q=0.0, error_2q=0.0, readout_error=0.0))
    assert device.gate_error("sx", (0,)) is device.gate_error("cz", (0, 1)) is None
    assert device.readout_error(0) is None


def test_points_of_a_sweep_share_it() -> None:
    assert lattice(2, 2) is lattice(2, 2)
    assert lattice(2, 2) is not lattice(2, 2, error_2q=0.1)


def test_it_is_rebuilt_from_what_an_archive_holds() -> None:
    def described(backend: Any) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(json.dumps(to_jsonable(describe_backend(backend))))
        return plain

    recorded = described(lattice(2, 3))
    rebuilt = ArchivedDevice(recorded["configuration"], recorded["properties"])
    for backend in (rebuilt, pickle.loads(pickle.dumps(lattice(2, 3)))):
        again = described(backend)
        for key in ("name", "num_qubits", "target", "properties"):
            assert again[key] == recorded[key]


def test_approximate_noise_wants_noise() -> None:
    engine = LocalEngine(approximate_noise=True)
    engine.check_backend(lattice(2, 2))
    with pytest.raises(ConfigError, match=r"engine\.approximate_noise=true: .* no calibration"):
        engine.check_backend(aer(2))
    LocalEngine().check_backend(aer(2))
