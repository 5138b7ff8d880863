from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from qexp.config.overrides import hydra_arguments, open_nodes, override, typed_overrides
from qexp.errors import ConfigError
from tests.unit.config.conftest import composed


@pytest.mark.parametrize(
    ("argument", "opened"),
    [
        ("circuits.depth=8", "++circuits.depth=8"),
        ("workloads.a.circuits._target_=x.y", "++workloads.a.circuits._target_=x.y"),
        ("metadata.title=a.b=c", "++metadata.title=a.b=c"),
        ("circuits={_target_: x.y, a: 1}", "++circuits={_target_: x.y, a: 1}"),
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


KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_./-]*", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(VALUES)
def test_hydra_reads_every_value_as_it_was_given(value: Any):
    parsed = OverridesParser.create().parse_override(override("a.b", value))
    assert not parsed.is_sweep_override()
    assert parsed.value() == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("least_busy", "a=least_busy"),
        ("Null", "a='Null'"),
        ("1", "a='1'"),
        ("it's", r"a='it\'s'"),
        (Path("runs/one"), "a=runs/one"),
        (np.float64(0.5), "a=0.5"),
        (np.array([1, 2]), "a=[1,2]"),
        ((True, None), "a=[true,null]"),
        ({"_target_": override, "n": 1}, "a={_target_:qexp.config.overrides.override,n:1}"),
    ],
)
def test_overrides_look_as_a_person_would_type_them(value: Any, text: str):
    assert override("a", value) == text


def test_a_function_without_a_name_is_refused():
    def inner() -> None: ...

    with pytest.raises(
        ConfigError, match=r"^a: got test_a_f.*inner, which has no name in a module"
    ):
        override("a", inner)
