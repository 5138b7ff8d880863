"""The plan's own config groups agree with what the code reads."""

from __future__ import annotations

import datetime
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from qexp.config.paths import shipped_conf
from qexp.core.spec import Limit, PartitionLimits, TranspileSpec
from tests.unit.planning.conftest import read_conf


def test_partition_defaults_are_the_models() -> None:
    declared = read_conf("partition/default")
    assert PartitionLimits(**declared) == PartitionLimits()


def test_transpile_defaults_are_the_models() -> None:
    declared = read_conf("transpile/preset")
    assert declared == asdict(TranspileSpec())


def test_every_limit_has_a_source_and_a_date(service_limits: dict[str, Limit]) -> None:
    assert all(one.value > 0 for one in service_limits.values())
    assert all(one.source.startswith("https://") for one in service_limits.values())
    for one in service_limits.values():
        assert datetime.date.fromisoformat(one.checked).year >= 2026


@pytest.mark.parametrize("path", sorted((shipped_conf() / "experiment").glob("*.yaml")))
def test_what_an_archive_says_of_an_experiment_has_no_number_of_the_config(path: Path) -> None:
    metadata = yaml.safe_load(path.read_text("utf-8"))["metadata"]
    assert not re.search(r"\b\d", f"{metadata['title']} {metadata.get('description', '')}")
