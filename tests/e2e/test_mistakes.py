"""Every mistake is one line on stderr, a non-zero exit code, and leaves nothing behind."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Cli

RANDOM = "experiment=random_sampling"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([RANDOM, "circuits.dept=8"], "circuits.dept: unknown key; did you mean 'depth'?"),
        ([RANDOM, "sede=8"], "sede: unknown key; did you mean 'seed'?"),
        ([RANDOM, "circuits.depth=abc"], "circuits.depth: got 'abc'"),
        ([RANDOM, "circuits.depth=-1"], "circuits.depth: got -1"),
        ([RANDOM, "backend=ibm"], "backend.name: a value is needed"),
        (
            [RANDOM, "backend=lest_busy"],
            "backend=lest_busy: no such choice; did you mean 'least_busy'? allowed: aer",
        ),
        (["experiment=randm"], "experiment=randm: no such choice; allowed: "),
        ([], "circuits: nothing is declared to run"),
        ([RANDOM, "circuits._target_=nowhere.f"], "circuits._target_: cannot import 'nowhere'"),
        ([RANDOM, "backend.name=FakeManilla"], "backend.name"),
        ([RANDOM, "batch.max_time=1 fortnight"], "batch.max_time"),
        ([RANDOM, "batch.max_time=1s"], "max_time"),
        ([RANDOM, "circuits.num_qubits=9"], "9"),
        ([RANDOM, "primitive.options.twirling.enable_gate=true"], "primitive.options.twirling"),
        ([RANDOM, "backend=least_busy"], "backend=local"),
        ([RANDOM, "engine=ibm"], "engine"),
        ([RANDOM, "circuits.depth"], "circuits.depth"),
    ],
)
def test_one_line(cli: Cli, arguments: list[str], message: str):
    done = cli(*arguments)
    assert done.code in {2, 3}, done.err
    assert message in done.err
    assert done.err.startswith("qexp: ")
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err + done.out
    assert not list(done.folder.rglob("outputs/*/*"))
