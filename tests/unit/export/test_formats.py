"""Properties of every format: names, existing outputs, damaged archives, gaps."""

from __future__ import annotations

from pathlib import Path

import pytest

import qexp
from qexp.errors import ArchiveError, ConfigError
from qexp.export.formats import FORMATS, export

METADATA = {"license": "CC0-1.0"}


def run_export(
    archive: Path, name: str, output: Path | None = None, *, force: bool = False
) -> Path:
    metadata = METADATA if FORMATS[name].takes_metadata else {}
    return export(archive, name, output, metadata=metadata, force=force).path


def test_an_unknown_format_is_refused(complete: Path) -> None:
    with pytest.raises(ConfigError, match=r"^'hdf4' is no format; allowed: rocrate, netcdf, csv"):
        export(complete, "hdf4")


@pytest.mark.parametrize("name", FORMATS)
def test_the_default_output_is_next_to_the_archive_and_only_replaced_with_force(
    name: str, complete: Path
) -> None:
    before = complete.read_bytes()
    path = run_export(complete.parent, name)
    assert path.parent == complete.parent
    assert path.name.startswith("run")
    with pytest.raises(ConfigError, match=r"exists already: .* replace it with --force"):
        run_export(complete, name)
    assert run_export(complete, name, force=True) == path
    assert complete.read_bytes() == before
    assert not list(complete.parent.glob(".*.tmp"))
    assert not list(complete.parent.glob(".*.old"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_partial_run_is_exported_with_a_note_on_what_is_missing(
    name: str, partial: Path, tmp_path: Path
) -> None:
    metadata = METADATA if FORMATS[name].takes_metadata else {}
    exported = export(partial, name, tmp_path / "new" / "out.nc", metadata=metadata)
    assert exported.path.exists()
    assert exported.notes[0] == (
        "the run is partial: 1 of 2 PUBs of 'states' have a result; the others are left out"
    )


@pytest.mark.parametrize("name", ["csv", "rocrate"])
def test_a_damaged_archive_is_refused_before_anything_is_written(
    name: str, complete: Path, tmp_path: Path
) -> None:
    raw = bytearray(complete.read_bytes())
    raw[len(raw) // 2] ^= 4
    complete.write_bytes(raw)
    with pytest.raises(ArchiveError, match="not what was sealed") as caught:
        run_export(complete, name, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_plan_is_refused(planned: Path) -> None:
    with pytest.raises(ConfigError, match="holds only a plan"):
        export(planned, "csv")


def test_metadata_are_refused_where_they_would_have_no_effect(complete: Path) -> None:
    with pytest.raises(ConfigError, match=r"^csv takes no metadata at export; this does: rocrate$"):
        export(complete, "csv", metadata=METADATA)


def test_the_archive_itself_is_never_the_output(complete: Path) -> None:
    for name, output in (("netcdf", complete), ("csv", complete.parent), ("csv", complete)):
        with pytest.raises(ConfigError, match=r"archive itself|is no folder"):
            export(complete, name, output, force=True)
    assert qexp.open_archive(complete).verify() == []


def test_a_folder_with_other_files_is_not_replaced(complete: Path, tmp_path: Path) -> None:
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.tex").write_text("mine")
    with pytest.raises(ConfigError, match=r"chapter\.tex would be lost"):
        export(complete, "csv", mine, force=True)
    assert (mine / "chapter.tex").read_text() == "mine"
    assert [path.name for path in mine.iterdir()] == ["chapter.tex"]


@pytest.mark.parametrize("name", ["csv", "netcdf"])
def test_an_output_of_another_kind_is_not_replaced(
    name: str, complete: Path, tmp_path: Path
) -> None:
    output, target = tmp_path / "out", tmp_path / "target"
    target.mkdir()
    output.symlink_to(target)
    with pytest.raises(ConfigError, match="exists and is no"):
        export(complete, name, output, force=True)
    output.unlink()
    if name == "csv":
        output.write_text("mine")
    else:
        output.mkdir()
    with pytest.raises(ConfigError, match="exists and is no"):
        export(complete, name, output, force=True)


def test_an_export_that_fails_leaves_the_earlier_one(
    complete: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_export(complete, "csv")
    before = (folder / "evs.csv").read_bytes()

    def fails(*_arguments: object) -> list[str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qexp.export.tables.tidy_tables", fails)
    with pytest.raises(ArchiveError, match=r"cannot write .*: No space left on device; check"):
        run_export(complete, "csv", force=True)
    assert (folder / "evs.csv").read_bytes() == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["run-csv", "run.h5"]


def test_a_folder_that_cannot_be_created_is_an_error(complete: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="choose another --output"):
        export(complete, "csv", tmp_path / "file" / "out")
