"""Recorded configs can be run again: their keys and targets still mean the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import qexp
from tests.emulator import IBMEmulator
from tests.golden.commands import Ended, apart, here
from tests.golden.conftest import Unpacked
from tests.golden.runs import INPUTS, expected, is_same_software, keys

LIKE_OTHERS = ("1.2/ibm-partial", keys(sealed=True)[-1])
"""Runs that add nothing here: another one on the service, and the last point of the sweep."""

WITH_DATA = [
    key
    for key in keys(sealed=True)
    if expected(key)["listed"]["results"] and key not in LIKE_OTHERS
]
NEW = "new"
WITH_SINGLE_BIT = "1.2/feedforward"
"""Its program has `bit late;`, whose measurement was dropped then and has a register now."""


def reproduced(run: Path, *arguments: str) -> Ended:
    """Run `reproduce` in a folder with the files that generators read; `NEW` is the new run."""
    folder = run.parent / "work"
    shutil.copytree(INPUTS, folder)
    given = (run, "--into", run.parent / NEW, "--trust", "experiments", *arguments)
    with qexp.open_archive(run) as archive:
        is_on_service = archive.engine == "ibm"
    if not is_on_service:
        return apart("reproduce", *given, folder=folder)
    with IBMEmulator() as emulator:
        env = {name: value for name, value in emulator.env.items() if name != "HOME"}
        return apart("reproduce", *given, "--submit", folder=folder, env=env)


@pytest.mark.parametrize("key", WITH_DATA)
def test_the_data_are_reproduced(unpacked: Unpacked, key: str):
    run = unpacked(key)
    ended = reproduced(run)
    if key == WITH_SINGLE_BIT:
        assert ended.code == 1
        assert "qasm: other circuit: 0" in ended.out
        assert "data: bit-identical (7 PUBs that both runs have)" in ended.out
        return
    assert ended.code == 0, ended.out + ended.err
    last = ended.out.splitlines()[-1]
    with qexp.open_archive(run) as old, qexp.open_archive(run.parent / NEW) as new:
        assert new.status == "complete"
        assert new.metadata["reproduces"]["run_id"] == old.run_id
        if key.startswith("1.0/"):
            # Seeds are derived in another way since schema 1.1.
            versions = "(simulator version 1 then, 3 now)"
            assert last == f"reproduced: statistically compatible {versions}"
        elif is_same_software(old):
            assert last == "reproduced: bit-identical"
            if old.status == "complete":
                assert new.data_sha256 == old.data_sha256
        else:
            assert last.startswith("reproduced: ")


@pytest.mark.parametrize(
    "key", [key for key in WITH_DATA if "sweep" in key or "feedforward" in key]
)
def test_archived_circuits_need_no_trust(unpacked: Unpacked, key: str):
    run = unpacked(key)
    assert here("reproduce", run.name, folder=run.parent).code == 2
    ended = apart("reproduce", run, "--circuits", "archived", "--into", NEW, folder=run.parent)
    assert ended.code == 0, ended.out + ended.err
    with qexp.open_archive(run) as old, qexp.open_archive(run.parent / NEW) as new:
        assert new.data_sha256 == old.data_sha256 or not is_same_software(old)


@pytest.mark.parametrize("key", ["1.0/sampler", "1.1/sampler", "1.2/sampler"])
def test_the_recorded_packages_become_requirements(unpacked: Unpacked, key: str):
    run = unpacked(key)
    with qexp.open_archive(run) as archive:
        recorded = archive.environment["distributions"]
    ended = here("reproduce", run.name, "--requirements", "then.txt", folder=run.parent)
    assert ended.code == 0, ended.err
    lines = (run.parent / "then.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        item for item in recorded if not item.startswith("qexp==")
    ]
