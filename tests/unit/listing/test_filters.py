from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.errors import ConfigError
from qexp.listing.filters import matching, ordered, parse, values_of
from qexp.listing.summary import RunEntry


def run(run_id: str, status: Any = "complete", config: Any = None, **fields: Any) -> RunEntry:
    return RunEntry(status, run_id, config=config or {}, **fields)


RUNS = [
    run(
        "a",
        config={
            "circuits": {"depth": 3, "num_qubits": [2, 5]},
            "reps": None,
            "primitive": {"shots": None},
        },
        backend="fake_manila",
        date="2026-01-01T00:00:00+00:00",
        usage_s=1.5,
    ),
    run(
        "b",
        "partial",
        {"circuits": {"depth": 8}, "backend": {"name": "FakeLima"}, "transpile": {"x": True}},
        backend="fake_lima",
        date="2026-11-26T01:00:00+00:00",
        usage_s=0.0,
    ),
    run(
        "c",
        config={
            "workloads": {
                "one": {"circuits": {"depth": 20}},
                "two": {"circuits": {"depth": 1, "name": "a & b, c"}},
            },
            "circuits": {},
        },
    ),
    run("d", "damaged"),
]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("circuits.depth>=4", "bc"),
        ("circuits.depth >= 4 & status==partial", "b"),
        ("circuits.depth>=4&&status==partial", "b"),
        ("circuits.depth<4", "ac"),
        ("circuits.depth==8.0", "b"),
        ("circuits.depth=8", "b"),
        ("circuits.depth!=8", "ac"),
        ("circuits.depth in 3, 8", "ab"),
        ("circuits.depth in [3,8]", "ab"),
        ("circuits.depth not in (3,20)", "b"),
        ("circuits.num_qubits==5", "a"),
        ("circuits.num_qubits.0==2", "a"),
        ("workloads.one.circuits.depth==20", "c"),
        ("status!=complete", "bd"),
        ("status in complete,damaged", "acd"),
        ("backend==fake_manila", "a"),
        ("backend!=fake_manila", "b"),
        ("backend.name==fake_lima", "b"),
        ("backend.name==FakeLima", "b"),
        ("backend~MANI", "a"),
        ("date>=2026-11", "b"),
        ("date>=2026", "ab"),
        ("date~2026-01", "a"),
        ("usage_s>0", "a"),
        ("usage_s==0", "b"),
        ("primitive.shots==null", "a"),
        ("transpile.x==true", "b"),
        ("transpile.x==1", ""),
        ("circuits.name=='a & b, c'", "c"),
        ('circuits.name in "a & b, c",other', "c"),
        ("run_id>b", "cd"),
    ],
)
def test_runs_that_fulfil_a_condition(expression: str, found: str) -> None:
    assert "".join(entry.run_id for entry in matching(RUNS, parse(expression))) == found


LOOKS_LIKE_A_NUMBER = run(
    "20261126T012951Z-47e727",
    experiment="1e3",
    backend="007",
    config={
        "t": ["01", "null", "true", "1_0", "1.50"],
        "n": [1e3, 7, 1.5],
        "on": True,
        "off": None,
    },
)


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("run_id~47e727", True),
        ("run_id~47E727", True),
        ("run_id~01", True),
        ("run_id~inf", False),
        ("experiment==1e3", True),
        ("experiment==1000", False),
        ("experiment==1000.0", False),
        ("backend~007", True),
        ("backend~7", True),
        ("backend==007", True),
        ("backend==7", False),
        ("backend!=7", True),
        ("backend in 7,007", True),
        ("backend not in 7,07", True),
        ("backend<01", True),
        ("t==01", True),
        ("t==1", False),
        ("t==null", True),
        ("t==true", True),
        ("t==1_0", True),
        ("t==10", False),
        ("t~1.50", True),
        ("t=='1.50'", True),
        ("n==1e3", True),
        ("n==1000", True),
        ("n==007", True),
        ("n=='7'", False),
        ("n>=1.50", True),
        ("on==true", True),
        ("on=='true'", False),
        ("on==1", False),
        ("off==null", True),
        ("off=='null'", False),
    ],
)
def test_a_text_is_compared_as_typed_and_a_number_by_value(expression: str, holds: bool) -> None:
    (condition,) = parse(expression)
    assert condition.holds(LOOKS_LIKE_A_NUMBER) is holds


@given(st.from_regex(r"[0-9][0-9e._+-]{0,8}", fullmatch=True))
def test_any_text_is_equal_to_itself_and_contains_itself(text: str) -> None:
    entry = run("r", experiment=text)
    for operation in ("==", "~", ">=", "<=", " in "):
        (condition,) = parse(f"experiment{operation}{text}")
        assert condition.holds(entry)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "&",
        "circuits.depth",
        "circuits.depth>=",
        ">=4",
        "a==1 &",
        "__import__('os').system('true')",
        "depth in",
        "a\x1b[31m",
    ],
)
def test_an_expression_that_is_no_condition_is_refused_on_one_line(expression: str) -> None:
    with pytest.raises(ConfigError, match="not understood; allowed is KEY OP VALUE") as refused:
        parse(expression)
    assert str(refused.value).isprintable()


def test_an_unknown_key_is_refused_with_a_close_one() -> None:
    with pytest.raises(ConfigError, match=r"no run has 'circuits.dept'; did you mean 'circuits.de"):
        matching(RUNS, parse("circuits.dept>=4"))
    with pytest.raises(ConfigError, match=r"did you mean 'status'.* allowed: status, run_id, "):
        matching(RUNS, parse("statu==complete"))
    with pytest.raises(ConfigError, match=r"did you mean 'circuits.depth'"):
        ordered(RUNS, "depth", is_descending=False)


def test_any_key_is_accepted_where_there_are_no_runs() -> None:
    assert matching([], parse("anything==1")) == []


def test_a_number_is_not_ordered_against_a_text() -> None:
    first = run("z", config={"circuits": {"depth": None}})
    with pytest.raises(ConfigError, match=r"circuits.depth is '3', for example.*'deep'"):
        matching([first, *RUNS], parse("circuits.depth>=deep"))


def test_runs_are_sorted_and_those_that_lack_the_key_are_last_either_way() -> None:
    def order(key: str, is_descending: bool) -> str:
        return "".join(e.run_id for e in ordered(RUNS, key, is_descending=is_descending))

    assert order("circuits.depth", False) == "abcd"
    assert order("circuits.depth", True) == "cbad"
    assert order("date", True) == "bacd"
    assert order("backend.name", False) == "bacd"


KEYS = st.from_regex(r"[a-z_]{1,8}(\.[a-z_]{1,8}){0,2}", fullmatch=True)
SCALARS = st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9).map(lambda x: round(x, 3))


@given(KEYS, SCALARS, SCALARS)
def test_every_comparison_is_that_of_python(key: str, have: float, given_: float) -> None:
    config: Any = have
    for part in reversed(f"x_{key}".split(".")):
        config = {part: config}
    entry = run("r", config=config)
    for operation, holds in (
        ("==", have == given_),
        ("!=", have != given_),
        ("<", have < given_),
        ("<=", have <= given_),
        (">", have > given_),
        (">=", have >= given_),
    ):
        (condition,) = parse(f"x_{key} {operation} {given_}")
        assert condition.holds(entry) is holds


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_on_one_line(text: str) -> None:
    refused = ""
    try:
        matching(RUNS, parse(text))
    except ConfigError as error:
        refused = str(error)
    assert "\n" not in refused


def test_a_group_of_the_config_is_no_value() -> None:
    assert values_of(RUNS[0], "circuits") == []
