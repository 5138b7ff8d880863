from __future__ import annotations

from pathlib import Path

import pytest

from qexp.cli.export import read_metadata
from qexp.errors import ConfigError
from qexp.export.formats import Exported
from tests.unit.cli.conftest import Command
from tests.unit.export.conftest import PUBLISHED, write_two_workloads


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    write_two_workloads(tmp_path / "run", complete=True, metadata=PUBLISHED)
    return tmp_path / "run"


def test_written_files_are_listed(run_dir: Path, command: Command) -> None:
    done = command("export", run_dir, "--to", "csv")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == str(run_dir / "run-csv")
    assert lines[2] == "evs.csv: 8 rows"


def test_untrusted_texts_do_not_steer_the_terminal(
    run_dir: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "s3cr3t-token")
    note = "the run is com\x1b[31mplete: /w\u202e: s3cr3t-token\nqexp: all is well"
    written = Exported(run_dir / "a\x1b[2Jb", (note,))
    monkeypatch.setattr("qexp.cli.export.export", lambda *_args, **_options: written)
    done = command("export", run_dir, "--to", "netcdf")
    assert done.code == 0
    assert done.out.splitlines() == [
        f"{run_dir}/a\\x1b[2Jb",
        "the run is com\\x1b[31mplete: /w\\u202e: [redacted] qexp: all is well",
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "--to", "cvs"], 2),
        (["run"], 2),
        (["run", "--to", "rocrate", "--set", "license=free"], 2),
        (["run/nothing", "--to", "csv"], 5),
        (["run/run.h5", "--to", "csv", "--output", "run"], 2),
        (["damaged.h5", "--to", "csv"], 5),
    ],
)
def test_mistakes_are_one_line_with_an_exit_code(
    run_dir: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
) -> None:
    monkeypatch.chdir(run_dir.parent)
    Path("damaged.h5").write_bytes((run_dir / "run.h5").read_bytes()[:-100])
    done = command("export", *arguments)
    assert done.code == code
    assert done.err.startswith("qexp: ")
    assert done.err.count("\n") == 1


def test_help_lists_the_formats(command: Command) -> None:
    done = command("export", "--help")
    assert done.code == 0
    assert "  rocrate  RO-Crate (Process Run Crate 0.5)" in done.out


def test_a_file_comes_before_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("license: CC0-1.0\ncreators: [{name: Ada}]\n")
    found = read_metadata(file, ["license=CC-BY-4.0", "metadata.keywords=[a, b]"])
    assert found == {
        "license": "CC-BY-4.0",
        "creators": [{"name": "Ada"}],
        "keywords": ["a", "b"],
    }
    file.write_text("metadata: {license: CC0-1.0}\n")
    assert read_metadata(file, []) == {"license": "CC0-1.0"}
    assert read_metadata(None, []) == {}


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("a: [", [], r"^--metadata .*lab\.yaml: it is not valid YAML"),
        ("- 1", [], r"^--metadata .*lab\.yaml: it must be a mapping"),
        ("{}", ["license"], r"^--set license: write KEY=VALUE"),
        ("{}", ["creators=[{"], r"^--set creators: it is not valid YAML"),
    ],
)
def test_unreadable_metadata_are_one_line(
    text: str, settings: list[str], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_metadata(file, settings)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_metadata(tmp_path / "nothing.yaml", [])
