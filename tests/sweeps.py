"""Sweeps as folders: declarations, and points made of runs that exist."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from qexp.archive.read import open_archive
from qexp.archive.sweep_file import SweepDeclaration, SweepPoint, write_sweep
from qexp.core.model import config_sections

CREATED = "2026-11-29T19:47:23Z"


def declare(folder: Path, draws: Sequence[Mapping[str, Any]], config: str = "seed: 7\n") -> Path:
    """Declare a sweep of points of which none has run."""
    folder.mkdir(parents=True, exist_ok=True)
    points = tuple(
        SweepPoint(
            f"{k:04d}", draw, tuple(f"{key}={value}" for key, value in draw.items()), (config,)
        )
        for k, draw in enumerate(draws)
    )
    write_sweep(folder, SweepDeclaration("3f9a2c", CREATED, points, ("experiment=e",)))
    return folder


def gather(runs: Sequence[Path], folder: Path, keys: Sequence[str]) -> Path:
    """Make a sweep of the run folders of a multirun: they become its points."""
    points = []
    for index, run in enumerate(runs):
        point = folder / f"20261129T194723Z-3f9a2c-{index:04d}"
        with open_archive(run) as archive:
            overrides = archive.overrides
            config, sources = config_sections(archive.config_yaml), archive.sources
        values = dict(text.lstrip("+").split("=", 1) for text in overrides)
        draws = {key: yaml.safe_load(values[key]) for key in keys}
        shutil.copytree(run, point)
        (point / "journal.jsonl").unlink(missing_ok=True)
        points.append(SweepPoint(point.name, draws, overrides, config, sources))
    write_sweep(folder, SweepDeclaration("3f9a2c", CREATED, tuple(points), ("experiment=e",)))
    return folder
