from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import qexp
from qexp.archive.archive_file import ArchiveFile
from qexp.archive.digests import write_file_digest
from qexp.archive.schema import SUMMARY
from qexp.archive.summary import (
    METADATA_SHAPE,
    load_config,
    make_summary,
    read_summary,
    stated_summary,
    summarise_archive,
    summarise_header,
    total,
)
from qexp.archive.verify import schema_problems
from qexp.cli.main import main
from qexp.config.schema import CreatorNode, FundingNode, MetadataNode, Node, PublisherNode
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError
from qexp.listing.read import summarise_sealed
from tests.archives import (
    header,
    outcome,
    sampler_jobs,
    sampler_pub,
    started,
    write_batch,
    write_partition,
    write_run,
)


def test_the_summary_of_a_partial_run(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("changes", "is_read"),
    [
        ({"results": 7}, True),
        ({"usage_s": None}, True),
        ({"results": "7"}, False),
        ({"seed": None}, False),
        ({"overrides": [1]}, False),
        ({"overrides": None}, False),
        ({"more": 1}, False),
    ],
)
def test_a_stated_summary_is_read_if_qexp_may_have_written_it(
    tmp_path: Path, changes: dict[str, Any], is_read: bool
) -> None:
    path = write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False)
    with h5py.File(path, "r+") as written, ArchiveFile(path, written) as file:
        made = make_summary(file)
        assert stated_summary(file) == made
        written.attrs[SUMMARY] = json.dumps(made | changes)
        assert read_summary(file) == (made | changes if is_read else made)
        assert [line for line in schema_problems(file) if "summary" in line]
        for text in ("[1]", "{"):
            written.attrs[SUMMARY] = text
            assert stated_summary(file) is None
        del written.attrs[SUMMARY]
        assert read_summary(file) == made


def test_only_finite_values_are_summed() -> None:
    assert total(np.array([np.nan, 1.5, np.inf, 2.0, -np.inf])) == 3.5
    assert total(np.array([np.nan, np.inf])) is None


def test_header_and_archive_have_the_same_summary(tmp_path: Path) -> None:
    file = ArchiveFile(write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False))
    sealed = summarise_archive(file)
    file.close()
    summary = summarise_header(json.loads(dumps(header())))
    assert summary == {name: sealed[name] for name in summary}


@pytest.mark.parametrize("text", ["a: [1", "- 1", "a: &x [1]\nb: *x", "a: !!python/name:os.system"])
def test_a_config_that_qexp_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(ArchiveError, match="recorded config"):
        load_config(text)


def test_a_star_in_a_text_is_not_an_alias() -> None:
    assert load_config("a: 'x*y'") == {"a": "x*y"}


def test_unknown_usage_is_not_zero() -> None:
    assert total(np.array([np.nan, np.nan])) is None
    assert total(np.array([1.5, np.nan])) == 1.5


def archive(folder: Path, metadata: Any) -> Path:
    """Write a sealed run with a valid digest and metadata from elsewhere."""
    store = started(folder)
    write_batch(store)
    write_partition(store, 0, 0, [sampler_pub()])
    store.write_job(outcome(0, *sampler_jobs([1])))
    path = store.seal("complete", keep_parts=False)
    with h5py.File(path, "r+") as file:
        del file["config/metadata_json"]
        file["config"].create_dataset(
            "metadata_json", data=json.dumps(metadata), dtype=h5py.string_dtype("utf-8")
        )
    write_file_digest(path)
    return path


WRONG = [
    ([1], r"\(metadata is no map\)"),
    ("text", r"\(metadata is no map\)"),
    (0, r"\(metadata is no map\)"),
    ({"title": ["a"]}, r"\(metadata\.title is no text\)"),
    ({"keywords": 7}, r"\(metadata\.keywords is no list\)"),
    ({"keywords": ["a", None]}, r"\(metadata\.keywords\[1\] is no text\)"),
    ({"creators": 5}, r"\(metadata\.creators is no list\)"),
    ({"creators": ["x", 7]}, r"\(metadata\.creators\[0\] is no map\)"),
    ({"creators": [None]}, r"\(metadata\.creators\[0\] is no map\)"),
    ({"creators": [{"name": None}]}, r"\(metadata\.creators\[0\] has no name\)"),
    ({"creators": [{"name": "A", "orcid": 1}]}, r"\(metadata\.creators\[0\]\.orcid is no text\)"),
    ({"publisher": {}}, r"\(metadata\.publisher has no name\)"),
    ({"funding": [{"name": "x"}]}, r"\(metadata\.funding\[0\] has no funder\)"),
    ({"reproduces": "that"}, r"\(metadata\.reproduces is no map\)"),
]


@pytest.mark.parametrize(("metadata", "message"), WRONG)
def test_metadata_of_another_shape_are_refused_in_one_line(
    tmp_path: Path, metadata: Any, message: str
) -> None:
    path = archive(tmp_path / "run", metadata)
    with qexp.open_archive(path) as run, pytest.raises(ArchiveError, match=message) as caught:
        _ = run.metadata
    assert "\n" not in str(caught.value)
    with pytest.raises(ArchiveError, match=message):
        summarise_sealed(path)


@pytest.mark.parametrize("metadata", [None, {}, {"title": None, "creators": None}, {"later": [1]}])
def test_missing_and_new_keys_of_metadata_are_allowed(tmp_path: Path, metadata: Any) -> None:
    with qexp.open_archive(archive(tmp_path / "run", metadata)) as run:
        assert run.metadata == (metadata or {})


@pytest.mark.parametrize(
    "command",
    [["show"], ["report"], ["export", "--to", "netcdf"], ["export", "--to", "rocrate"]],
)
def test_no_command_reports_unexpected_metadata_as_a_bug(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    archive(tmp_path / "run", {"creators": [{"name": None}]})
    name, *options = command
    with pytest.raises(SystemExit) as caught:
        main([name, str(tmp_path / "run"), *options])
    assert caught.value.code == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert "metadata.creators[0] has no name" in line


@pytest.mark.parametrize(
    ("shape", "node"),
    [
        (
            {name: METADATA_SHAPE[name] for name in METADATA_SHAPE if name != "reproduces"},
            MetadataNode,
        ),
        (METADATA_SHAPE["creators"][0], CreatorNode),
        (METADATA_SHAPE["publisher"], PublisherNode),
        (METADATA_SHAPE["funding"][0], FundingNode),
    ],
)
def test_the_shape_is_that_of_the_config(shape: dict[str, Any], node: type[Node]) -> None:
    assert set(shape) == set(node.model_fields)
