from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qexp.compare.model import Comparison, PubComparison
from qexp.compare.runs import compare_runs
from qexp.compare.verdict import reproduction_verdict
from qexp.errors import NotReproducedError
from tests.unit.compare.runs import sampled, write

ODD = PubComparison("main", 0, 0, "sampler", identical=False, same_isa=True, problem="no shots")


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    path = write(tmp_path_factory.mktemp("run"), [sampled(1), sampled(2)])
    return compare_runs(path, path)


def with_data(found: Comparison, **changes: Any) -> Comparison:
    return replace(found, data=replace(found.data, **changes))


def test_compatible_data_are_reproduced(same: Comparison) -> None:
    verdict = reproduction_verdict(with_data(same, verdict="compatible"))
    assert verdict.startswith("reproduced: statistically comp")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": "different"}, "the data are not compatible"),
        ({"verdict": "untested", "pubs": (ODD,)}, "of 1 of 2 PUBs .* cannot be tested: no shots"),
        ({"num_common": 1}, "for 1 of 2 PUBs the new run has another circuit or no result"),
    ],
)
def test_other_data_are_not_reproduced(
    same: Comparison, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(NotReproducedError, match=message) as error:
        reproduction_verdict(with_data(same, **changes))
    assert error.value.exit_code == 1
