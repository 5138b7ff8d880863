"""The declaration of a sweep as a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qexp.archive.atomic_files import read_with_digest, write_with_digest
from qexp.archive.sweep_file import (
    SWEEP_NAME,
    SweepDeclaration,
    SweepPoint,
    read_sweep,
    write_sweep,
)
from qexp.core.model import SourceFile, config_sections
from qexp.errors import ArchiveError

CONFIGS = (
    "",
    "# a\nseed: 1\ncircuits:\n  depth: 5\nnames:\n- a\n",
    "seed: 2\ncircuits:\n  depth: 5\n",
)
SWEEP = SweepDeclaration(
    "id",
    "2026-01-01T00:00:00.000Z",
    tuple(
        SweepPoint(
            str(k),
            {"seed": k},
            (f"seed={k}",),
            config_sections(text),
            (SourceFile("a.yaml", "seed: 1"),),
        )
        for k, text in enumerate(CONFIGS)
    ),
)


def test_it_is_read_as_written_and_states_equal_sections_once(tmp_path: Path) -> None:
    write_sweep(tmp_path, SWEEP)
    assert read_sweep(tmp_path) == SWEEP
    assert read_with_digest(tmp_path / SWEEP_NAME).count(b"depth") == 1


def test_the_first_format_is_read_and_a_later_one_is_refused(tmp_path: Path) -> None:
    write_sweep(tmp_path, SWEEP)
    content = json.loads(read_with_digest(tmp_path / SWEEP_NAME))
    del content["sections"]
    for point, text in zip(content["points"], CONFIGS, strict=True):
        point.pop("config")
        point["config_yaml"] = text
    for number in (1, 3):
        text = json.dumps(content | {"format": number})
        write_with_digest(tmp_path / SWEEP_NAME, text.encode())
        if number == 1:
            assert read_sweep(tmp_path) == SWEEP
    with pytest.raises(ArchiveError, match="has format 3, and this version of qexp reads 2"):
        read_sweep(tmp_path)
