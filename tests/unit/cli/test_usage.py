from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.archives import outcome, sampler_jobs, sampler_pub, started
from tests.unit.cli.conftest import Command


@pytest.fixture
def charged(tmp_path: Path) -> Path:
    """Two runs on a QPU, one with a charge that is pending, and one on a simulator."""
    root = tmp_path / "runs"
    backend = {"name": "ibm_torino", "num_qubits": 2, "instance": "lab\x1b[31m"}
    pending = {"usage": {"qpu_charge_time_seconds": 1.0, "status": "pending"}}
    for name, changes in (("a", {}), ("b", {"metrics": pending})):
        store = started(root / name, sampler_pub(), engine="ibm", backend=backend)
        store.write_job(outcome(0, *sampler_jobs([1]), **changes))
        store.seal("complete", keep_parts=False)
    store = started(root / "c", sampler_pub())
    store.write_job(outcome(0, *sampler_jobs([1])))
    store.seal("complete", keep_parts=False)
    return root


def test_the_table_ends_with_a_total(command: Command, charged: Path) -> None:
    ended = command("usage", charged)
    assert (ended.code, ended.err) == (0, "")
    header, january, total, count = ended.out.splitlines()
    assert header.split() == [
        *("month", "account", "instance", "backend", "runs", "predicted", "charged", "ratio")
    ]
    assert january.split() == [
        *("2026-01", "default", r"lab\x1b[31m", "ibm_torino", "2", "25s", "4.5s+", "0.280")
    ]
    assert total.split() == ["all", "2", "25s", "4.5s+", "0.280"]
    assert count == "2 of 3 runs were charged for QPU time"


def test_json_has_the_rows_and_the_total(command: Command, charged: Path) -> None:
    rows = json.loads(command("usage", charged, "--where", "backend==ibm_torino", "--json").out)
    assert rows[-1] == {
        **{"month": "all", "account": "", "instance": "", "backend": ""},
        **{"runs": 2, "predicted_s": 25.0, "charged_s": 4.5, "pending": 1},
        **{"ratio": 3.5 / 12.5, "ratio_error": None},
    }


def test_a_folder_without_a_charge(command: Command, charged: Path) -> None:
    ended = command("usage", charged / "c")
    assert "0 of 1 runs were charged for QPU time" in ended.out
    ended = command("usage", charged / "none")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
