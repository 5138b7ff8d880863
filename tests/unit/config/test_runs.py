from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qexp.archive import parts
from qexp.config.runs import refuse_other_config
from qexp.errors import ArchiveError, ConfigError
from qexp.journal.events import Event, Planned, Started
from qexp.journal.file import Journal

PLANNED = Planned(("0" * 64,))
RANDOM = "experiment=random_sampling"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "outputs" / "r1"
    path.mkdir(parents=True)
    return path


def journal(folder: Path, *events: Event) -> None:
    with Journal(folder) as writer:
        for event in (Started("host", 1, "0.1"), *events):
            writer.append(event)


@pytest.fixture
def recorded(monkeypatch) -> dict[str, str | None]:
    """What the run's folder says of its config; None: nothing."""
    texts: dict[str, str | None] = {"config": None}

    def read_config_yaml(folder: Path) -> str:
        text = texts["config"]
        if text is None:
            raise ArchiveError("no header")
        return text

    monkeypatch.setattr(parts, "read_config_yaml", read_config_yaml)
    return texts


def test_the_same_config_may_go_on(folder: Path, recorded, load_spec):
    journal(folder, PLANNED)
    recorded["config"] = load_spec(RANDOM).config_yaml
    refuse_other_config(folder, load_spec(RANDOM, "execution.retries=9"))


def test_another_config_is_refused_with_what_differs(folder: Path, recorded, load_spec):
    journal(folder, PLANNED)
    recorded["config"] = load_spec(RANDOM).config_yaml
    spec = load_spec(RANDOM, "circuits.depth=8", "seed=4")
    with pytest.raises(
        ConfigError,
        match=r"has another config: seed: recorded 0, now 4; circuits\.depth: recorded 5, now 8; "
        r"set it as it was",
    ):
        refuse_other_config(folder, spec)


def test_many_differences_are_counted(folder: Path, recorded, load_spec):
    journal(folder, PLANNED)
    recorded["config"] = load_spec(RANDOM).config_yaml
    with pytest.raises(ConfigError, match=r"\(and \d+ more\); set it") as caught:
        refuse_other_config(folder, load_spec("experiment=estimator_and_sampler"))
    assert "\n" not in str(caught.value)


def test_before_anything_was_recorded_any_config_goes(folder: Path, recorded, load_spec):
    spec = load_spec(RANDOM)
    journal(folder)
    refuse_other_config(folder, spec)
    journal(folder, PLANNED)
    with pytest.raises(ArchiveError, match="no header"):
        refuse_other_config(folder, spec)


def test_what_is_planned_is_not_planned_again(folder: Path, recorded, load_spec):
    spec = replace(load_spec(RANDOM), stop_after="plan")
    recorded["config"] = spec.config_yaml
    journal(folder)
    refuse_other_config(folder, spec)
    journal(folder, PLANNED)
    with pytest.raises(ConfigError, match=r"^stop_after=plan: the run in .* is planned already"):
        refuse_other_config(folder, spec)


def test_a_damaged_journal_is_told(folder: Path, recorded, load_spec):
    (folder / "journal.jsonl").write_text("rubbish\n")
    with pytest.raises(ArchiveError, match="line 1"):
        refuse_other_config(folder, load_spec(RANDOM))
