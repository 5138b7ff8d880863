from __future__ import annotations

from pathlib import Path

import pytest

from qexp.config.given_anew import given_anew, is_override
from qexp.errors import ConfigError

RECORDED = {"seed": 3, "backend": {"name": "ibm_torino", "instance": "old"}, "execution": {}}


def test_the_account_and_the_way_of_execution_are_given_anew():
    words = ["backend.instance='crn:v1:x'", "+backend.account=lab", "execution.retries=0"]
    assert given_anew(RECORDED, words) == {
        "seed": 3,
        "backend": {"name": "ibm_torino", "instance": "crn:v1:x", "account": "lab"},
        "execution": {"retries": 0},
    }
    assert RECORDED["backend"] == {"name": "ibm_torino", "instance": "old"}
    # An older run has no budget.
    assert given_anew({}, ["budget.qpu=10m"]) == {"budget": {"qpu": "10m"}}
    # Nor has it a section for raw data.
    assert given_anew({}, ["archive.raw=false"]) == {"archive": {"raw": False}}
    assert given_anew({"execution": None}, ["execution.deadline=10m"]) == {
        "execution": {"deadline": "10m"}
    }


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("seed=4", "seed=4: a recorded run keeps its config; only one value each of backend.acc"),
        ("seed=4", "backend.instance, budget.qpu, archive.raw and execution.KEY may be given anew"),
        ("budget=5m", "a recorded run keeps its config"),
        ("backend.name=x", "a recorded run keeps its config"),
        ("backend.instanc=x", "did you mean backend.instance?"),
        ("execution={retries: 1}", "a recorded run keeps its config"),
        ("execution.retries=1,2", "only one value each"),
        ("~backend.instance=x", "only one value each"),
        ("backend.instance=[", "backend.instance=["),
    ],
)
def test_any_other_word_is_refused(word: str, message: str):
    with pytest.raises(ConfigError) as caught:
        given_anew(RECORDED, [word])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_path_of_a_run_is_no_override(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("depth=3").mkdir()
    assert is_override("backend.instance=a/b")
    assert not is_override("depth=3")
    assert not is_override("outputs/depth=3")
    assert not is_override("outputs")
