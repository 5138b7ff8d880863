from __future__ import annotations

import pytest

from qexp.config.overrides import hydra_arguments, open_nodes, typed_overrides
from tests.unit.config.conftest import composed


@pytest.mark.parametrize(
    ("argument", "opened"),
    [
        ("circuits.depth=8", "++circuits.depth=8"),
        ("workloads.a.circuits._target_=x.y", "++workloads.a.circuits._target_=x.y"),
        ("metadata.title=a.b=c", "++metadata.title=a.b=c"),
        # Hydra's own keys and groups, top-level keys, flags, and what says itself what it does.
        ("hydra.run.dir=x", None),
        ("seed=1", None),
        ("circuits@workloads.a.circuits=ghz", None),
        ("backend=ibm", None),
        ("+a.b=1", None),
        ("++a.b=1", None),
        ("~a.b", None),
        ("--config-dir=a.b=c", None),
        ("-m", None),
    ],
)
def test_open_nodes(argument: str, opened: str | None):
    assert open_nodes([argument]) == [opened or argument]


@pytest.mark.parametrize(
    ("arguments", "ordered"),
    [
        (["experiment=ghz", "-m", "seed=1,2"], ["experiment=ghz", "seed=1,2", "-m"]),
        (
            ["experiment=ghz", "--cfg", "job", "circuits.depth=1"],
            ["experiment=ghz", "++circuits.depth=1", "--cfg", "job"],
        ),
        # Without a value, it would take the next argument for one.
        (["--info", "experiment=ghz"], ["experiment=ghz", "--info"]),
        (["-sc", "install=bash"], ["install=bash", "-sc"]),
        (["-m", "~circuits", "seed=1"], ["~circuits", "seed=1", "-m"]),
        (["--config-dir=a=b", "seed=1"], ["seed=1", "--config-dir=a=b"]),
    ],
)
def test_flags_may_stand_anywhere(arguments: list[str], ordered: list[str]):
    assert hydra_arguments(arguments) == ordered


def test_overrides_as_they_were_typed():
    composed("experiment=random_sampling", "circuits.depth=3", "+batch.max_time=1h")
    assert typed_overrides() == (
        "experiment=random_sampling",
        "circuits.depth=3",
        "batch.max_time=1h",
    )
