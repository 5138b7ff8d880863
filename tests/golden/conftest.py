from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.golden.runs import unpack

Unpacked = Callable[[str], Path]


@pytest.fixture
def unpacked(tmp_path: Path) -> Unpacked:
    """Unpack a run into a temporary folder and return the folder of the run."""
    return lambda key: unpack(key, tmp_path)
