from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command
from tests.unit.compare.runs import sampled, write


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("runs")
    write(folder / "a", [sampled(1)])
    write(folder / "b", [sampled(2)])
    write(folder / "c", [sampled(1)], seed=8)
    return {name: str(folder / name) for name in "abc"}


@pytest.mark.parametrize(("other", "code"), [("a", 0), ("b", 0), ("c", 1)])
def test_the_exit_code_is_like_that_of_git_diff(
    runs: dict[str, str], command: Command, other: str, code: int
) -> None:
    assert command("diff", runs["a"], runs[other]).code == 0
    # Noise is no difference, another seed is one.
    assert command("diff", runs["a"], runs[other], "--exit-code").code == code


def test_json(runs: dict[str, str], command: Command) -> None:
    done = command("diff", runs["a"], runs["b"], "--json", "--alpha", "0.02")
    plain = json.loads(done.out)
    assert done.code == 0
    assert (plain["data"]["verdict"], plain["data"]["alpha"]) == ("compatible", 0.02)


def test_a_config_of_aliases_is_refused_in_one_line(
    runs: dict[str, str], command: Command, tmp_path: Path
) -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 10)}]" for k in range(12)]
    write(tmp_path, [sampled(1)], config_yaml="\n".join(lines))
    done = command("diff", runs["a"], tmp_path)
    assert done.code == 5
    assert done.err.count("\n") == 1
    assert f"{tmp_path}/run.h5: the recorded config is not valid YAML: aliases" in done.err


def test_untrusted_texts_do_not_steer_the_terminal(
    runs: dict[str, str], command: Command, tmp_path: Path
) -> None:
    evil = "e\x9b31m\x1b[31m\u202eabc"
    write(tmp_path, [sampled(1)], experiment=evil, config_yaml='name: "x\\x9b\\e\\u202e"\n')
    for option in ("--top=3", "--json"):
        done = command("diff", runs["a"], tmp_path, option)
        assert done.code == 0
        assert done.out.replace("\n", "").isprintable()
    assert json.loads(done.out)["b"]["experiment"] == evil


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["A"], 2, "is no sweep, whose pairs could be compared; name a second run: B"),
        (["A", "A", "--alpha", "2"], 2, "--alpha: got 2; it must be between 0 and 1"),
        (["A", "A", "--alpha", "x"], 2, "--alpha: got x; it must be between 0 and 1"),
        (["A", "A", "--top", "-1"], 2, "--top"),
        (["A", "nowhere"], 5, "there is no archive nowhere"),
        (["A", "."], 5, "there is no run.h5 in ."),
    ],
)
def test_a_mistake_is_one_line(
    runs: dict[str, str],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("diff", *(runs["a"] if item == "A" else item for item in arguments))
    assert done.code == code
    assert done.err.count("\n") == 1
    assert message in done.err
