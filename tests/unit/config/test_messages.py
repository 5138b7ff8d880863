from __future__ import annotations

from typing import Annotated, Any

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qexp.config import messages
from qexp.config.schema import RootNode

TOKEN = "s3cr3t-token-of-the-tests"


class Node(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Leaf(Node):
    size: Annotated[int, Field(gt=0)]
    label: str | None = None


class Tree(Node):
    one: Leaf | None = None
    many: dict[str, Leaf] = {}
    row: list[Annotated[int, Field(ge=0)]] = []
    time: str | int | None = None
    aliased: int = Field(0, alias="copy")


def message_of(declared: dict[str, Any], path: str = "") -> str:
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate(declared)
    return messages.validation_message(caught.value, Tree, path)


@pytest.mark.parametrize(
    ("path", "allowed", "message"),
    [
        (
            "circuits.dept",
            ["width", "depth"],
            "circuits.dept: unknown key; did you mean 'depth'? allowed in 'circuits': depth, width",
        ),
        ("x", ["depth"], "x: unknown key; allowed in the config: depth"),
        ("a.b.c", [], "a.b.c: unknown key; allowed in 'a.b': nothing"),
    ],
)
def test_unknown_key(path: str, allowed: list[str], message: str):
    assert messages.unknown_key(path, allowed) == message


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"one": {"sise": 1, "size": 2}},
            "one.sise: unknown key; did you mean 'size'? allowed in 'one': label, size",
        ),
        (
            {"many": {"a": {"size": 1, "lable": ""}}},
            "many.a.lable: unknown key; did you mean 'label'? allowed in 'many.a': label, size",
        ),
        ({"many": {"a": {"size": 0}}}, "many.a.size: got 0; it must be greater than 0"),
        ({"row": [0, -1]}, "row.1: got -1; it must be greater than or equal to 0"),
        (
            {"one": {"size": "2"}},
            "one.size: got '2'; it must be a valid integer; write it without quotes, or, if it "
            "comes from an environment variable, as ${oc.decode:${oc.env:NAME}}",
        ),
        ({"one": {"size": True}}, "one.size: got True; it must be a valid integer"),
        (
            {"one": {}},
            "one.size: a value is needed; set it on the command line (one.size=...) or in the "
            "experiment's file",
        ),
        # A union is tried member by member, but told once.
        ({"time": 1.5}, "time: got 1.5; it must be a valid string"),
        (
            {"aliasd": 1},
            "aliasd: unknown key; allowed in the config: copy, many, one, row, time",
        ),
    ],
)
def test_one_problem_is_one_message(declared: dict[str, Any], message: str):
    assert message_of(declared) == message


def test_all_problems_are_told_and_a_misspelt_key_before_what_it_leaves_missing():
    message = message_of({"one": {"sise": 1}, "row": [-1]}, "top")
    first, *others = message.split(" | ")
    assert first.startswith("top.one.sise: unknown key; did you mean 'size'?")
    assert others == [
        "top.one.size: a value is needed; set it on the command line (top.one.size=...) or in the "
        "experiment's file",
        "top.row.0: got -1; it must be greater than or equal to 0",
    ]


def test_the_names_of_workloads_and_limits_are_keys_of_the_path():
    with pytest.raises(ValidationError) as caught:
        RootNode.model_validate(
            {"workloads": {"a": {"circuit": {}}}, "limits": {"job_qpu_s": {"x": 1}}}
        )
    message = messages.validation_message(caught.value, RootNode)
    assert "workloads.a.circuit: unknown key; did you mean 'circuits'? allowed in" in message
    assert (
        "limits.job_qpu_s.x: unknown key; allowed in 'limits.job_qpu_s': checked, source, value"
        in message
    )


@pytest.mark.parametrize("secret", [TOKEN, TOKEN * 4])
def test_a_value_is_shown_short_and_without_secrets(monkeypatch, secret: str):
    assert message_of({"row": "x" * 500}).startswith(f"row: got '{'x' * 56}...; ")
    monkeypatch.setenv("QISKIT_IBM_TOKEN", secret)
    message = message_of({"row": secret})
    assert message.startswith("row: got '[redacted]'; ")
    # Nor its beginning, where the value is cut.
    assert TOKEN[:10] not in message_of({"row": "x" * 40 + secret})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"a": {"b": "${c.d}"}},
            "a.b: Interpolation key 'c.d' not found; write the full path of a key that exists",
        ),
        ({"a": "${nope:1}"}, "a: Unsupported interpolation type nope"),
        ({"a": "${a}"}, "a: Recursive interpolation detected"),
    ],
)
def test_interpolations(config: dict[str, Any], message: str):
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    assert messages.interpolation_message(caught.value) == message
