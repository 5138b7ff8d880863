"""Devices that are rebuilt from archives."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from qexp.core.jsonable import to_jsonable
from qexp.engines.local.archived_device import ArchivedDevice
from qexp.engines.local.backends import fake
from qexp.provenance import describe_backend


def described(backend: Any) -> dict[str, Any]:
    """Describe a backend as an archive holds it."""
    plain: dict[str, Any] = json.loads(json.dumps(to_jsonable(describe_backend(backend))))
    return plain


@pytest.mark.parametrize("name", ["FakeManilaV2", "FakeLagosV2", "FakeTorino", "FakeSherbrooke"])
def test_a_rebuilt_device_has_the_same_target_and_calibration(name: str) -> None:
    recorded = described(fake(name))
    rebuilt = ArchivedDevice(recorded["configuration"], recorded["properties"])
    again = described(pickle.loads(pickle.dumps(rebuilt)))
    for key in ("name", "num_qubits", "target", "properties"):
        assert again[key] == recorded[key]
