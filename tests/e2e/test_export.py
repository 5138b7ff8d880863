"""A run whose metadata are a lab's own file, exported as a reader of the docs would type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli, _command

LAB = """\
creators:
  - name: Josiah Carberry
    orcid: 0000-0002-1825-0097
    affiliation: Brown University
    affiliation_url: https://ror.org/05gq02987
publisher: {name: Zenodo, url: "https://zenodo.org"}
license: CC-BY-4.0
"""


@pytest.fixture
def companion(tmp_path: Path) -> Cli:
    """Run `python -m qexp ...` in the same folder as `cli`."""
    return _command(tmp_path)


def test_a_labs_metadata_reach_the_crate(cli: Cli, companion: Cli) -> None:
    folder = cli("--help").folder
    (folder / "conf" / "metadata").mkdir(parents=True)
    (folder / "conf" / "metadata" / "lab.yaml").write_text(LAB)
    done = cli("experiment=ghz", "metadata=lab", "primitive.shots=100")
    assert done.code == 0, done.err
    with done.archive() as run:
        assert run.metadata["title"] == "GHZ states"
        assert run.metadata["creators"][0]["name"] == "Josiah Carberry"
        assert "conf/metadata/lab.yaml" in [source.name for source in run.sources]
    (archive,) = done.archives()
    run_dir = archive.parent.relative_to(folder)
    crate = companion("export", str(run_dir), "--to", "rocrate")
    assert (crate.code, crate.err) == (0, "")
    assert crate.out == f"{run_dir}/run-rocrate\n"
    about = json.loads((folder / run_dir / "run-rocrate/ro-crate-metadata.json").read_text())
    root = next(entity for entity in about["@graph"] if entity["@id"] == "./")
    assert root["author"] == {"@id": "https://orcid.org/0000-0002-1825-0097"}
    again = companion("export", str(run_dir), "--to", "rocrate")
    assert again.code == 2
    assert again.err.count("\n") == 1
    elsewhere = companion("export", str(archive), "--to", "netcdf", folder=folder / "conf")
    assert elsewhere.code == 0, elsewhere.err
    assert (archive.parent / "run.nc").is_file()
