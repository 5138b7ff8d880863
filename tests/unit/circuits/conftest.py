from __future__ import annotations

import numpy as np
import pytest

from qexp.core.seeds import stream


@pytest.fixture
def seed_sequence() -> np.random.SeedSequence:
    return stream(7, "main", "circuits")
