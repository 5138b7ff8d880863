"""The code under test writes the same files as the recorded ones, field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import qexp
from qexp.archive.schema import SCHEMA
from tests.golden import tree
from tests.golden.compare import assert_same
from tests.golden.runs import INPUTS, WRITTEN, installed
from tests.golden.writing import RUNS, described, write


def may_grow(where: str) -> bool:
    # Configs, and what is recorded of software and jobs, may have keys that were added later.
    of_jobs = "/jobs/info_json/value/" in where
    return of_jobs or where.endswith(
        ("/config", "/environment/other_json/value", "header.json/environment", "json/backend")
    )


ADDED = ("@summary_json", "raw", "readout", "backend/instance_")


def in_schema_1_2(recorded: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Take out of a file what schema 1.3 added; return its names."""
    assert recorded["@qexp_schema"]["value"] == "1.2"
    recorded["@qexp_schema"]["value"] = SCHEMA
    added = [name for name in found if name.startswith(ADDED)]
    for name in added:
        del found[name]
    return added


@pytest.mark.parametrize("name", RUNS)
def test_the_files_are_as_recorded(tmp_path: Path, name: str):
    run = write(name, tmp_path)
    recorded = json.loads((WRITTEN / f"{name}.json").read_text(encoding="utf-8"))
    found = described(run)
    added = in_schema_1_2(recorded["files"]["run.h5"], found["files"]["run.h5"])
    assert "@summary_json" in added
    assert ("readout/estimator" in added) == (name == "ibm")
    files = [each["files"] for each in (recorded, found)]
    if recorded["software"] != installed():
        files = [tree.without_values(each) for each in files]
    assert_same(*files, may_grow=may_grow)
    with qexp.open_archive(run) as archive:
        assert archive.verify() == []
        assert archive.environment["qexp_source"]["version"] == qexp.__version__
        journal = (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()
        # The last line, that the run was sealed, came after that.
        assert archive.journal == [json.loads(line) for line in journal[:-1]]
        sources = {source.name: source.text for source in archive.sources}
    if name == "sampler":
        # A file of the user's own.
        declared = "conf/experiment/written.yaml"
        assert sources[declared] == (INPUTS / declared).read_text(encoding="utf-8")
