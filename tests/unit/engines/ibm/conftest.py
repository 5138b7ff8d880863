from __future__ import annotations

from typing import Any

import pytest

from qexp.engines.ibm.batch import IBMBatch
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.select import named
from tests.emulator import MANILA, IBMEmulator


@pytest.fixture
def backend(ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    # The client repeats what failed after up to 8 s.
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda *_: None)
    backend = named(name=MANILA)
    assert backend.target.num_qubits == 5  # what planning has fetched already
    return backend


@pytest.fixture
def batch(backend: Any) -> IBMBatch:
    return IBMEngine(poll_interval_s=0.01).open_batch(backend, max_time_s=1500)
