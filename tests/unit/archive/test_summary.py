from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.summary import load_config, summarise_archive, summarise_header, total
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError
from tests.archives import header, sampler_jobs, write_run


def test_a_partial_run_in_a_line(tmp_path: Path) -> None:
    file = ArchiveFile(
        write_run(tmp_path, [*sampler_jobs([2, 1]), None]).seal("partial", keep_parts=True)
    )
    found = summarise_archive(file)
    file.close()
    assert (found["status"], found["backend"], found["num_qubits"]) == ("partial", "fake_lima", 2)
    assert (found["results"], found["pubs"]) == (3, 5)
    assert (found["jobs_done"], found["jobs"]) == (2, 3)
    assert found["usage_s"] == 10.5
    assert found["predicted_qpu_s"] == 37.5
    assert found["config"] == {"seed": 7, "circuits": {"depth": 5}}
    assert found["finished"].startswith("2026-01-01T00:00:12")


def test_only_finite_values_are_summed() -> None:
    assert total(np.array([np.nan, 1.5, np.inf, 2.0, -np.inf])) == 3.5
    assert total(np.array([np.nan, np.inf])) is None


def test_a_header_says_the_same_as_the_archive(tmp_path: Path) -> None:
    file = ArchiveFile(write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False))
    sealed = summarise_archive(file)
    file.close()
    of_header = summarise_header(json.loads(dumps(header())))
    assert of_header == {name: sealed[name] for name in of_header}


@pytest.mark.parametrize("text", ["a: [1", "- 1", "a: &x [1]\nb: *x", "a: !!python/name:os.system"])
def test_a_config_that_qexp_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(ArchiveError, match="recorded config"):
        load_config(text)


def test_a_star_in_a_text_is_no_alias() -> None:
    assert load_config("a: 'x*y'") == {"a": "x*y"}


def test_unknown_usage_is_not_zero() -> None:
    assert total(np.array([np.nan, np.nan])) is None
    assert total(np.array([1.5, np.nan])) == 1.5
