"""The layers in docs/architecture.md are those of the contracts, which leave out no module."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
}
OWNERS = {
    "Only the archive reads and writes HDF5": {"archive", "analysis", "sweeps"},
    "Only the engines touch IBM's client": {"engines"},
    "Only config and the entry point know Hydra": {"config", "cli"},
}


def test_the_page_has_the_layers():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    layers = CONTRACTS["Data flows one way"]["layers"]
    assert "\n".join(["", *(f"    {layer}" for layer in layers), ""]) in page


@pytest.mark.parametrize("name", OWNERS)
def test_every_module_but_the_owners_is_forbidden_a_library(name: str):
    modules = {
        path.stem
        for path in (ROOT / "qexp").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    sources = {source.removeprefix("qexp.") for source in CONTRACTS[name]["source_modules"]}
    assert sources == modules - OWNERS[name] - {"__init__"}
