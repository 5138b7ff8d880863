from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from qexp.config.hydra_internals import register
from qexp.config.overrides import open_nodes
from qexp.config.paths import shipped_root
from qexp.errors import ConfigError, Failed, QexpError

RANDOM = "experiment=random_sampling"


class StubLauncher:
    """Notes the points that it is told to launch; `ends` says which of them fail."""

    def __init__(self, ends: Mapping[int, Failed]) -> None:
        self.ends = ends
        self.batches: list[list[list[str]]] = []
        self.first_of_batches: list[int] = []

    def launch(self, batch: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        self.batches.append([list(point) for point in batch])
        self.first_of_batches.append(initial_job_idx)
        return [
            JobReturn(
                overrides=point, status=JobStatus.COMPLETED, _return_value=self.ends.get(index)
            )
            for index, point in zip(count(initial_job_idx), batch, strict=False)
        ]


Sweep = Callable[..., StubLauncher]


@pytest.fixture
def launcher() -> StubLauncher:
    return StubLauncher({})


@pytest.fixture
def sweep(launcher: StubLauncher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sweep:
    """Sweep as `qexp -m` does, but for the launcher; returns the points that were launched."""
    monkeypatch.chdir(tmp_path)
    register()
    # Not before Hydra has scanned for plugins, see there.
    from qexp.config.sweep import CheckedSweeper

    def _sweep(*arguments: str, max_batch_size: int | None = None) -> list[list[str]]:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(shipped_root() / "conf"), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            config = hydra.compose_config("qexp", open_nodes(list(arguments)), RunMode.MULTIRUN)
            sweeper = CheckedSweeper(max_batch_size)
            sweeper.config = config
            sweeper.hydra_context = HydraContext(hydra.config_loader, Callbacks())
            sweeper.launcher = launcher
            launcher.batches.clear()
            sweeper.sweep(OmegaConf.to_container(config.hydra.overrides.task))
        return [point for batch in launcher.batches for point in batch]

    return _sweep


def seeds(points: Sequence[Sequence[str]]) -> dict[str, int]:
    """The one seed of each point, by its other overrides."""
    found = {}
    for point in points:
        (seed,) = (item for item in point if item.startswith("seed="))
        others = " ".join(sorted(item.lstrip("+") for item in point if item != seed))
        found[others] = int(seed.removeprefix("seed="))
    return found


def test_each_point_has_a_seed_of_its_own_whatever_the_order(sweep: Sweep):
    swept = [RANDOM, "circuits.depth=2,3", "primitive.shots=10,20"]
    points = seeds(sweep(*swept))
    assert len(points) == len(set(points.values())) == 4
    assert seeds(sweep("primitive.shots=20,10", RANDOM, "++circuits.depth=3,2")) == points
    # A point more changes no other point's seed, and one alone has the seed that it had.
    assert points.items() <= seeds(sweep(RANDOM, "circuits.depth=range(2,5)", swept[2])).items()
    assert set(sweep(*swept, "seed=1")[0]).isdisjoint(f"seed={seed}" for seed in points.values())


def test_what_is_the_same_in_all_points_does_not_shift_their_seeds(sweep: Sweep):
    few = seeds(sweep(RANDOM, "circuits.depth=2,3", "circuits.num_circuits=5"))
    many = seeds(sweep(RANDOM, "circuits.depth=2,3", "circuits.num_circuits=7"))
    assert list(few.values()) == list(many.values())


@pytest.mark.parametrize("key", ["seed", "++seed"])
def test_a_swept_seed_is_left_alone(sweep: Sweep, key: str):
    assert sweep(RANDOM, f"{key}=5,6") == [[RANDOM, f"{key}=5"], [RANDOM, f"{key}=6"]]


def test_nothing_swept_is_the_run_as_declared(sweep: Sweep):
    assert sweep(RANDOM, "seed=5") == [[RANDOM, "seed=5"]]


def test_a_sweep_over_experiments(sweep: Sweep):
    points = seeds(sweep("experiment=random_sampling,chsh"))
    assert set(points) == {"experiment=random_sampling", "experiment=chsh"}
    assert len(set(points.values())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["circuits.depth=2,3,-1"], r"^sweep point 'circuits\.depth=-1': circuits\.depth: got -1"),
        (
            ["circuits.depth=2,3", "primitive.shots=1,abc"],
            r"^sweep point 'circuits\.depth=2 primitive\.shots=abc': primitive\.shots: got 'abc'",
        ),
        (["backend=local,ibm"], r"^sweep point 'backend=ibm': backend\.name: a value is needed"),
        # Wrong in every point alike.
        (["seed=1,2", "circuits.dept=3"], r"^sweep point 'seed=1': circuits\.dept: unknown key"),
        (["circuits.dept=3"], r"^circuits\.dept: unknown key"),
    ],
)
def test_a_bad_point_is_refused_before_any_is_launched(
    sweep: Sweep, launcher: StubLauncher, arguments: list[str], message: str
):
    with pytest.raises(ConfigError, match=message + r".* \(no point was run\)$"):
        sweep(RANDOM, *arguments)
    assert launcher.batches == []


def test_failed_points_are_counted_and_the_worst_exit_code_tells(
    sweep: Sweep, launcher: StubLauncher
):
    launcher.ends = {0: Failed("too large", 2), 2: Failed("too warm", 4), 3: Failed("x", 2)}
    with pytest.raises(QexpError, match=r"^3 of 5 points failed; "):
        # Two points may be equal.
        sweep(RANDOM, "circuits.depth=2,3,4,2,5")
    assert sum(map(len, launcher.batches)) == 5
    with pytest.raises(QexpError) as caught:
        sweep(RANDOM, "circuits.depth=2,3,4,2")
    assert caught.value.exit_code == 4


def test_points_in_batches(sweep: Sweep, launcher: StubLauncher):
    points = sweep(RANDOM, "circuits.depth=1,2,3", max_batch_size=2)
    assert [len(batch) for batch in launcher.batches] == [2, 1]
    assert launcher.first_of_batches == [0, 2]
    assert len(seeds(points)) == 3


@pytest.mark.parametrize(
    ("swept", "problem"),
    [
        ("circuits.depth=glob(*)", "glob is for config groups; list the values: circuits.depth=1,"),
        ("circuits=glob(x*)", "none matches; allowed: broadcast_estimator, "),
        ("circuits.depth=range(0,0)", "no value to sweep over; list the values, circuits.depth=1,"),
        ("circuits.depth=range(1,3,0)", "no value to sweep over; list the values, circuits.depth="),
        ("circuits.depth=interval(0,1)", "no value to sweep over; list the values, circuits.dept"),
    ],
)
def test_a_sweep_over_no_values_is_refused(
    sweep: Sweep, launcher: StubLauncher, swept: str, problem: str
):
    with pytest.raises(ConfigError) as info:
        sweep(RANDOM, swept)
    assert str(info.value).startswith(f"{swept}: {problem}")
    assert not launcher.batches


def test_a_glob_of_a_group_is_a_sweep(sweep: Sweep):
    points = sweep("primitive=sampler", "circuits=glob(gh*)")
    assert [point[1] for point in points] == ["circuits=ghz"]
