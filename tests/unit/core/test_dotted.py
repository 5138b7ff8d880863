from __future__ import annotations

from qexp.core.dotted import flatten, leaves


def test_every_value_and_the_path_of_its_key() -> None:
    plain = {"a": {"b": 1, "c": {}}, "d": [1, 2], "e": [{"f": None}, 3], 4: True}
    assert list(leaves(plain)) == [
        (("a", "b"), 1),
        (("a", "c"), {}),
        (("d",), [1, 2]),
        (("e", "0", "f"), None),
        (("e", "1"), 3),
        (("4",), True),
    ]


def test_a_flat_mapping_has_dotted_paths() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": 1, "a.c": {}, "d": [1, 2]}
    assert flatten({}) == {}
