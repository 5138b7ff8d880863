from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import pytest
from pydantic import Field

from qexp.config import instantiate
from qexp.errors import ConfigError

if TYPE_CHECKING:
    from nowhere import Something

HERE = __name__


def generator(size: Annotated[int, Field(gt=0)], *, names: list[str] | None = None, rng=None):
    return [(size, names, rng)]


def untyped(size, copy=True):
    return size, copy


def only_for_type_checkers(thing: Something = None):
    return thing


def selector(name: str = "a", *, pinned: str | None = None):
    return name, pinned


class Engine:
    def __init__(self, pace_s: float = 1.0) -> None:
        self.pace_s = pace_s


def bind(name: str, **declared):
    return instantiate.bind({"_target_": f"{HERE}.{name}", **declared}, "circuits")


def test_declared_arguments_are_bound():
    assert bind("generator", size=3, names=["a"])() == [(3, ["a"], None)]


def test_a_class_is_a_target_too_and_an_integer_is_a_float():
    assert bind("Engine", pace_s=2)().pace_s == 2.0


def test_unannotated_parameters_take_anything_but_unknown_keys_are_refused():
    assert bind("untyped", size="x", copy=False)() == ("x", False)
    with pytest.raises(ConfigError, match=r"^circuits\.sise: unknown key; did you mean 'size'\?"):
        bind("untyped", sise=1)


def test_annotations_for_type_checkers_only_are_not_evaluated():
    assert bind("only_for_type_checkers", thing=4)() == 4


def test_a_nested_target_is_built():
    inner = {"_target_": f"{HERE}.untyped", "size": 1}
    assert bind("untyped", size=inner)() == ((1, True), True)


def test_missing_value():
    with pytest.raises(ConfigError, match=r"^circuits\.size: a value is needed; set it on"):
        bind("generator")


def test_what_qexp_supplies_cannot_be_declared():
    with pytest.raises(ConfigError, match=r"^circuits\.rng: unknown key; .*: names, size$"):
        bind("generator", size=1, rng=3)


def test_what_qexp_supplies_is_passed_to_a_target_that_takes_it():
    def build(name: str):
        return instantiate.build({"_target_": f"{HERE}.{name}"}, "backend", {"pinned": "ibm_x"})

    assert build("selector") == ("a", "ibm_x")
    assert build("Engine").pace_s == 1.0
    with pytest.raises(ConfigError, match=r"^circuits\.pinned: unknown key; allowed in .*: name$"):
        bind("selector", pinned="ibm_x")


def lists(sizes: list[int], either: int | list[int] = 1, names: list[str] | None = None):
    return sizes, either, names


def test_nothing_is_converted():
    with pytest.raises(ConfigError, match=r"^circuits\.size: got '3'; it must be a valid integer"):
        bind("generator", size="3")


def test_one_value_stands_for_a_list_of_it():
    node = {"_target_": f"{HERE}.lists", "sizes": 3, "either": 4}
    assert instantiate.bind(node, "circuits")() == ([3], 4, None)
    with pytest.raises(ConfigError, match=r"^circuits\.sizes: got 'a'; it must be a valid list$"):
        instantiate.bind({**node, "sizes": "a"}, "circuits")
    with pytest.raises(ConfigError, match=r"^circuits\.sizes: got None; it must be a valid list$"):
        instantiate.bind({**node, "sizes": None}, "circuits")


def test_a_module_that_fails_to_import_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('first\\nsecond')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigError, match=r"cannot import 'broken_module', it fails with RuntimeError: first$"
    ) as caught:
        instantiate.bind({"_target_": "broken_module.circuits"}, "circuits")
    assert "\n" not in str(caught.value)


def refusing(size: int):
    raise ValueError("too\nlarge")


def test_a_target_that_refuses_its_arguments_is_a_mistake_in_the_config():
    node = {"_target_": f"{HERE}.refusing", "size": 3}
    with pytest.raises(ConfigError, match=r"^engine: .*refusing failed: ValueError: too large$"):
        instantiate.build(node, "engine")
