"""Raw data of a mitigated run, evaluated again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qexp
from qexp.analysis.remitigated import remitigated
from qexp.config.analyses import declared_analysis
from qexp.errors import AnalysisError, ConfigError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two chains of 3 qubits at resilience level 2, or 0, in `untwirled` with ZNE."""
    root = tmp_path_factory.mktemp("runs")
    untwirled = "primitive.options.resilience.zne_mitigation=true"
    for name, level, *more in (("folded", 2), ("bare", 0), ("untwirled", 0, untwirled)):
        qexp.run(
            "ising",
            "circuits.num_qubits=3",
            "circuits.steps=[1,2]",
            f"primitive.options.resilience_level={level}",
            "primitive.precision=0.05",
            "analysis=[]",
            "engine.workers=1",
            *more,
            f"hydra.run.dir={root / name}",
        )
    return root


def test_the_settings_of_the_job_give_its_values(folder: Path) -> None:
    with qexp.open_archive(folder / "folded") as run:
        found = remitigated(run)
        evs = np.concatenate([run.results["main"][k].data.evs for k in range(2)])
        stds = np.concatenate([run.results["main"][k].data.stds for k in range(2)])
    np.testing.assert_array_equal(found.ev, evs)
    np.testing.assert_array_equal(found.archived, evs)
    np.testing.assert_array_equal(found["std"], stds)
    assert found.attrs["summary"] == f"{evs.size} values: equal to the archived"
    assert found.observable.values[0] == "magnetisation"


def test_other_settings_give_others_of_the_same_shots(folder: Path) -> None:
    with qexp.open_archive(folder / "folded") as run:
        raw = run.raw("main", 0)
        linear = remitigated(run, extrapolator="linear", noise_factors=[1.0, 3.0])
        folded = remitigated(run, extrapolator="fallback", noise_factors=[3.0])
        bare = remitigated(run, extrapolator="fallback", noise_factors=[1.0])
        unread = remitigated(run, trex=False)
    assert raw is not None
    # Two points lie on a line: by hand, at zero noise.
    np.testing.assert_allclose(linear.ev, 1.5 * bare.ev - 0.5 * folded.ev, atol=1e-6)
    assert np.abs(unread.ev - linear.archived).max() > 1e-3


def test_bootstrap_errors_come_from_the_randomizations(folder: Path) -> None:
    with qexp.open_archive(folder / "folded") as run:
        found, again = (
            remitigated(run, extrapolator="fallback", noise_factors=[1.0], resamples=60)
            for _ in range(2)
        )
        pubs = [run.results["main"][k].data for k in range(2)]
        scatter = np.concatenate([pub.stds_noise_factors[..., 0] for pub in pubs])
    np.testing.assert_array_equal(found.bootstrap_std, again.bootstrap_std)
    # IBM's error of the unamplified value, from the same randomizations.
    assert 0.6 < np.median(found.bootstrap_std / scatter) < 1.7


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("folded", {"noise_factors": [2.0]}, r"noise_factors=2: the run has only \[1\.0, 3\.0, 5"),
        ("folded", {"extrapolator": "cubic"}, "extrapolator=cubic: unknown; allowed: linear"),
        ("folded", {"noise_factors": [1.0]}, "PUB 0 of 'main': exponential requires at least 2"),
        ("bare", {}, "the run has no raw data: they are kept"),
        ("untwirled", {"resamples": 5}, "resamples: a circuit has one randomization, and none can"),
    ],
)
def test_what_was_not_run_is_refused(
    folder: Path, name: str, settings: dict[str, object], said: str
) -> None:
    with qexp.open_archive(folder / name) as run, pytest.raises(AnalysisError, match=said):
        remitigated(run, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"resamples": 1}, "resamples: got 1; it must be greater than or equal to 2"),
        ({"noise_factors": []}, r"noise_factors: got \[\]; list should have at least 1 item"),
        ({"extrapolator": []}, r"extrapolator: got \[\]; list should have at least 1 item"),
    ],
)
def test_a_setting_that_says_nothing_is_refused(setting: dict[str, object], said: str) -> None:
    node = {"_target_": "qexp.analysis.remitigated.remitigated", "resamples": 0, **setting}
    with pytest.raises(ConfigError, match=f"^analysis.remitigated.{said}"):
        declared_analysis("remitigated", node)
    declared_analysis("remitigated", {"_target_": node["_target_"], "resamples": 2})
