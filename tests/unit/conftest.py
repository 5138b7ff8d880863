from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.catalogue.runs import make_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of every kind, not to be changed."""
    root = tmp_path_factory.mktemp("outputs")
    make_runs(root)
    return root
