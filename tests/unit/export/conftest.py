"""Archives to export: complete, with gaps, only planned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexp.archive.store import RunStore
from tests.unit.archive.samples import (
    estimator_pub,
    estimator_result,
    header,
    outcome,
    sampler_circuit,
    sampler_pub,
    sampler_result,
    write_batch,
    write_partition,
)

PUBLISHED: dict[str, Any] = {
    "title": "Noise of <small> devices",
    "description": "Two workloads.",
    "creators": [
        {
            "name": "Ada Lovelace",
            "orcid": "0000-0002-1825-0097",
            "affiliation": "Analytical Laboratory",
            "affiliation_url": "https://ror.org/02mhbdp94",
        }
    ],
    "publisher": {"name": "Archive of Science", "url": "https://archive.example"},
    "funding": [
        {
            "funder": "Science Agency",
            "funder_url": "https://agency.example",
            "grant": "12a",
            "name": "Noise",
            "url": None,
        }
    ],
    "license": "CC-BY-4.0",
    "keywords": ["noise"],
}
"""All metadata of a publication that a crate can hold."""


def write_two_workloads(folder: Path, *, complete: bool, metadata: dict[str, Any]) -> Path:
    """An Estimator workload `energy` and a Sampler workload `states`, of two PUBs each."""
    rng = np.random.default_rng(5)
    store = RunStore(folder)
    store.write_header(header(metadata=metadata, config_yaml="seed: 7\ncircuits: {depth: [5]}\n"))
    write_batch(store)
    write_partition(store, 0, 0, [estimator_pub(), estimator_pub()], "energy")
    write_partition(store, 1, 0, [sampler_pub(0)], "states")
    # Two registers, no parameters: another group of results.
    write_partition(store, 2, 1, [(_plain_pub())], "states")
    store.write_job(outcome(0, [estimator_result(rng, (2, 2)) for _ in range(2)]))
    store.write_job(outcome(1, [sampler_result(rng, {"reg0": 2, "reg1": 1}, 100, (3,))]))
    last = [sampler_result(rng, {"a": 11, "pub": 3}, 50)] if complete else None
    store.write_job(outcome(2, last, **({} if complete else {"error": "Too long"})))
    return store.seal("complete" if complete else "partial", keep_parts=False)


def _plain_pub() -> Any:
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    return SamplerPub.coerce((sampler_circuit(11, 3), None, 50))


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each archive, written once."""
    folder = tmp_path_factory.mktemp("sealed")
    planned = RunStore(folder / "planned")
    planned.write_header(header())
    write_partition(planned, 0, 0, [sampler_pub(0)])
    return {
        "complete": write_two_workloads(folder / "complete", complete=True, metadata=PUBLISHED),
        "partial": write_two_workloads(folder / "partial", complete=False, metadata={}),
        "planned": planned.seal("planned", keep_parts=False),
    }


def _copied(archive: Path, folder: Path) -> Path:
    (folder / "run").mkdir()
    return shutil.copy(archive, folder / "run" / "run.h5")


@pytest.fixture
def complete(sealed: dict[str, Path], tmp_path: Path) -> Path:
    """A complete run with all metadata of a publication."""
    return _copied(sealed["complete"], tmp_path)


@pytest.fixture
def partial(sealed: dict[str, Path], tmp_path: Path) -> Path:
    """A run in which one PUB of `states` has no result; no metadata."""
    return _copied(sealed["partial"], tmp_path)


@pytest.fixture
def planned(sealed: dict[str, Path], tmp_path: Path) -> Path:
    """A run that was only planned."""
    return _copied(sealed["planned"], tmp_path)
