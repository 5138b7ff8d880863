from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
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
from qexp.config.sweep_launcher import PointLauncher
from qexp.core.seeds import sweep_point_seed
from qexp.errors import ConfigError

RANDOM = "experiment=random_sampling"
MITIGATED = "experiment=error_mitigation"


class StubLauncher(PointLauncher):
    """Notes the points that it is told to launch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[list[str]]] = []
        self.first_of_batches: list[int] = []

    def launch(self, batch: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        self.batches.append([list(point) for point in batch])
        self.first_of_batches.append(initial_job_idx)
        return [JobReturn(overrides=point, status=JobStatus.COMPLETED) for point in batch]


Sweep = Callable[..., StubLauncher]


@pytest.fixture
def launcher() -> StubLauncher:
    return StubLauncher()


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
            launcher.setup(hydra_context=sweeper.hydra_context, task_function=print, config=config)
            launcher.batches.clear()
            sweeper.sweep(OmegaConf.to_container(config.hydra.overrides.task))
        return [point for batch in launcher.batches for point in batch]

    return _sweep


DERIVED = ("seed", "simulation_seed", "sweep.circuits_by", "sweep.keys")


def values(point: Sequence[str]) -> dict[str, str]:
    return dict(item.lstrip("+").split("=", 1) for item in point)


def seeds(points: Sequence[Sequence[str]], key: str = "seed") -> dict[str, int | None]:
    """One of the seeds of each point, by the overrides that its user typed."""
    found = {}
    for point in map(values, points):
        others = " ".join(sorted(f"{k}={v}" for k, v in point.items() if k not in DERIVED))
        found[others] = int(point[key]) if key in point else None
    assert len(found) == len(points)
    return found


def circuits_by(points: Sequence[Sequence[str]]) -> str:
    (found,) = {values(point)["sweep.circuits_by"] for point in points}
    return found


def test_the_seed_follows_from_what_decides_circuits_whatever_the_order(sweep: Sweep):
    swept = [RANDOM, "circuits.depth=2,3", "primitive.shots=10,20"]
    launched = sweep(*swept)
    points, noise = seeds(launched), seeds(launched, "simulation_seed")
    assert circuits_by(launched) == "[circuits.depth]"
    by_depth = [{seed for at, seed in points.items() if f"depth={n}" in at} for n in (2, 3)]
    assert [len(each) for each in by_depth] == [1, 1]
    assert by_depth[0] != by_depth[1]
    assert len(set(noise.values())) == 4
    again = sweep("primitive.shots=20,10", RANDOM, "++circuits.depth=3,2")
    assert seeds(again) == points
    assert seeds(again, "simulation_seed") == noise
    # A point more changes no other point's seed, and one alone has the seed that it had.
    assert points.items() <= seeds(sweep(RANDOM, "circuits.depth=range(2,5)", swept[2])).items()
    assert set(sweep(*swept, "seed=1")[0]).isdisjoint(f"seed={seed}" for seed in points.values())


def test_what_is_the_same_in_all_points_does_not_shift_their_seeds(sweep: Sweep):
    few = seeds(sweep(RANDOM, "circuits.depth=2,3", "circuits.num_circuits=5"))
    many = seeds(sweep(RANDOM, "circuits.depth=2,3", "circuits.num_circuits=7"))
    assert list(few.values()) == list(many.values())


@pytest.mark.parametrize("key", ["seed", "++seed"])
def test_a_swept_seed_is_left_alone(sweep: Sweep, key: str):
    filled_in = ["sweep.circuits_by=[seed]", "sweep.keys=[seed]"]
    assert sweep(RANDOM, f"{key}=5,6") == [[RANDOM, f"{key}={seed}", *filled_in] for seed in (5, 6)]


def test_a_swept_seed_is_shared_by_the_points_beside_it(sweep: Sweep):
    points = sweep(RANDOM, "seed=5,6", "circuits.depth=2,3")
    assert [values(point)["seed"] for point in points] == ["5", "5", "6", "6"]
    assert len({values(point)["simulation_seed"] for point in points}) == 4
    assert circuits_by(points) == "[seed,circuits.depth]"


@pytest.mark.parametrize(
    "key", ["primitive.shots=10,20", "execution.retries=0,1", "transpile.optimization_level=0,1"]
)
def test_what_decides_no_circuit_leaves_the_seed_as_declared(sweep: Sweep, key: str):
    points = sweep(RANDOM, key, "seed=5")
    assert [values(point)["seed"] for point in points] == ["5", "5"]
    assert len(set(seeds(points, "simulation_seed").values()) - {None}) == 2
    assert circuits_by(points) == "[]"


def test_a_key_of_ones_own_decides_circuits_where_it_is_used(sweep: Sweep):
    own = ["variables={x:3,y:1}", "circuits.depth='${variables.x}'", "variables.y=1,2"]
    points = sweep(RANDOM, *own, "variables.x=3,4")
    assert circuits_by(points) == "[variables.x]"
    assert len(set(seeds(points).values())) == 2
    assert len(set(seeds(points, "simulation_seed").values())) == 4


def test_points_that_differ_in_all_they_have_need_no_seed_for_simulation(sweep: Sweep):
    assert set(seeds(sweep(RANDOM, "circuits.depth=2,3"), "simulation_seed").values()) == {None}
    given = sweep(RANDOM, "circuits.depth=2,3", "simulation_seed=7")
    assert len(set(seeds(given, "simulation_seed").values()) - {7, None}) == 2
    swept = sweep(RANDOM, "primitive.shots=10,20", "simulation_seed=7,8")
    assert [values(point)["simulation_seed"] for point in swept] == ["7", "8", "7", "8"]


def test_one_value_more_changes_no_seed_also_of_one_that_was_alone(sweep: Sweep):
    one = seeds(sweep(RANDOM, "circuits.depth=range(2,3)"))
    assert one.items() <= seeds(sweep(RANDOM, "circuits.depth=2,3")).items()


def test_shared_and_independent_seeds(sweep: Sweep):
    swept = [RANDOM, "circuits.depth=2,3", "primitive.shots=10,20", "seed=5"]
    shared = sweep(*swept, "sweep.seed=shared")
    assert set(seeds(shared).values()) == {5}
    assert len(set(seeds(shared, "simulation_seed").values()) - {None}) == 4
    assert circuits_by(shared) == "[]"
    independent = sweep(*swept, "sweep.seed=independent")
    assert len(set(seeds(independent).values()) - {5}) == 4
    assert set(seeds(independent, "simulation_seed").values()) == {None}
    assert circuits_by(independent) == "[circuits.depth,primitive.shots]"


def test_seeds_of_a_sweep_over_circuits_are_those_of_version_0_1(sweep: Sweep):
    points = seeds(sweep(RANDOM, "circuits.depth=2,4"))
    assert points == {
        f"circuits.depth=2 {RANDOM}": sweep_point_seed(0, ["circuits.depth=2"]),
        f"circuits.depth=4 {RANDOM}": sweep_point_seed(0, ["circuits.depth=4"]),
    }


def test_checking_many_points_keeps_none_of_their_configs(sweep: Sweep):
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        sweep(RANDOM, "circuits.depth=range(1,40)")
        assert gc.isenabled()
    finally:
        (gc.enable if was_enabled else gc.disable)()


def test_nothing_swept_is_the_run_as_declared(sweep: Sweep):
    assert sweep(RANDOM, "seed=5") == [[RANDOM, "seed=5"]]


def test_a_sweep_over_experiments(sweep: Sweep):
    points = seeds(sweep("experiment=random_sampling,chsh"))
    assert set(points) == {"experiment=random_sampling", "experiment=chsh"}
    assert len(set(points.values())) == 2
    same = sweep("experiment=random_sampling", "backend=local,aer")
    assert len(set(seeds(same).values())) == 1


def test_circuits_of_a_workload(sweep: Sweep):
    swept = ["primitive=sampler,estimator", "+circuits@workloads.a.circuits=ghz,ising"]
    points = sweep(*swept)
    assert circuits_by(points) == "['circuits@workloads.a.circuits']"
    assert len(set(seeds(points).values())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["circuits.depth=2,3,-1"], r"^sweep point 'circuits\.depth=-1': circuits\.depth: got -1"),
        (
            ["circuits.depth=2,3", "primitive.shots=1,abc"],
            r"^sweep point 'circuits\.depth=2 primitive\.shots=abc': primitive\.shots: got 'abc'",
        ),
        (["backend=local,ibm"], r"^sweep point 'backend=ibm': backend\.name: a value is needed"),
        (["variants.a={}"], r"^sweep point 'variant=a': variants\.a: equal to primitive once it"),
        (
            [MITIGATED, "variants.zme.precision=0.2"],
            r"^sweep point 'variant=bare': variants\.zme: no such variant; did you mean 'zne'\?",
        ),
        (
            [MITIGATED, "variant=zne,bare", "variants.zne.precision=0.1,0.2"],
            r"'variant=bare variants.zne.precision=0.1': variants.zne.precision: swept, but var",
        ),
        (["variants={a:{shots:2}}", "variant=a,b"], r"^sweep point 'variant=b': variant: got 'b'"),
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


def test_points_are_the_product_of_what_is_declared(sweep: Sweep):
    points = sweep(
        *(RANDOM, "circuits.num_qubits=2,3"),
        "sweep.zip={circuits.depth:[2,4],primitive.shots:[10,20]}",
        "sweep.points=[{transpile.optimization_level:0},{transpile.optimization_level:1}]",
    )
    by_key = [values(point) for point in points]
    keys = ("circuits.depth", "primitive.shots", "transpile.optimization_level")
    swept = (*keys, "circuits.num_qubits")
    assert [tuple(int(point[key]) for key in swept) for point in by_key] == [
        (depth, shots, level, num_qubits)
        for depth, shots in ((2, 10), (4, 20))
        for level in (0, 1)
        for num_qubits in (2, 3)
    ]
    assert {point["sweep.keys"] for point in by_key} == {f"[{','.join(swept)}]"}
    assert {(point["sweep.zip"], point["sweep.points"]) for point in by_key} == {("null", "null")}
    assert all("sweep.sample" not in point for point in by_key)
    assert circuits_by(points) == "[circuits.depth,circuits.num_qubits]"
    # As on a grid.
    grid = sweep(RANDOM, "circuits.num_qubits=2,3", "circuits.depth=2,4")
    assert {values(point)["seed"] for point in grid} == {point["seed"] for point in by_key}


def test_variants_are_points_with_the_same_circuits_beside_other_keys(sweep: Sweep):
    points = sweep(MITIGATED, "circuits.num_qubits=3,4")
    names = ["bare", "dd", "trex", "zne"]
    assert [values(point)["variant"] for point in points] == [n for n in names for _ in "34"]
    assert circuits_by(points) == "[circuits.num_qubits]"
    assert len(set(seeds(points).values())) == 2
    assert len(set(seeds(points, "simulation_seed").values())) == 8
    assert {values(point)["sweep.keys"] for point in points} == {"[variant,circuits.num_qubits]"}


def test_variants_are_chosen_like_values_of_any_key(sweep: Sweep):
    def chosen(*words: str) -> list[str]:
        return [values(point)["variant"] for point in sweep(MITIGATED, *words)]

    assert chosen("variant=zne,bare") == ["zne", "bare"]
    assert chosen("variant=trex", "circuits.num_qubits=3,4") == ["trex", "trex"]
    assert chosen("sweep.zip={variant:[bare,zne],primitive.precision:[0.1,0.2]}") == ["bare", "zne"]
    assert chosen("~variants.dd", "~variants.zne") == ["bare", "trex"]


def test_a_variant_that_is_named_twice_is_run_once(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
):
    points = sweep(MITIGATED, "variant=bare,zne,bare")
    assert [values(point)["variant"] for point in points] == ["bare", "zne"]
    assert capsys.readouterr().err == (
        "qexp: warning: 'variant=bare,zne,bare': 2 of 3 points, the others are equal to one of "
        "them\n"
    )


def test_a_variant_alone_is_the_point_that_it_is_among_others(sweep: Sweep):
    (alone,), (first, _) = sweep(MITIGATED, "variant=bare"), sweep(MITIGATED, "variant=bare,zne")
    assert alone == first
    assert values(alone)["sweep.keys"] == "[variant]"


def test_a_key_of_the_only_variant_is_swept(sweep: Sweep):
    points = sweep(MITIGATED, "variant=zne", "variants.zne.precision=0.1,0.2")
    assert [values(point)["variants.zne.precision"] for point in points] == ["0.1", "0.2"]
    assert circuits_by(points) == "[]"
    whole = sweep(MITIGATED, "variant=zne", "variants.zne={precision:0.1},{precision:0.2}")
    assert [values(point)["variants.zne"] for point in whole] == [
        "{precision:0.1}",
        "{precision:0.2}",
    ]


def test_a_group_and_a_workload_are_walked_together(sweep: Sweep):
    points = sweep(
        "sweep.zip={primitive:[sampler,estimator],+circuits@workloads.a.circuits:[ghz,ising]}"
    )
    assert [values(point)["primitive"] for point in points] == ["sampler", "estimator"]
    assert circuits_by(points) == "['circuits@workloads.a.circuits']"


@pytest.mark.parametrize(
    "declared",
    [
        "sweep.zip={variables.x:[2,3,3,4],primitive.shots:[10,20,30,40]}",
        "sweep.sample={method:sobol,n:9,keys:{variables.x:[2,5],primitive.shots:[1,9999]}}",
    ],
)
def test_a_key_of_ones_own_that_never_differs_alone_decides_circuits(sweep: Sweep, declared: str):
    points = sweep(RANDOM, "variables={x:2}", "circuits.depth='${variables.x}'", declared)
    assert circuits_by(points) == "[variables.x]"
    pairs = {(values(point)["variables.x"], values(point)["seed"]) for point in points}
    assert len(pairs) == len({x for x, _ in pairs}) == len({seed for _, seed in pairs})
    assert len(pairs) < len(points)
    assert len({values(point)["simulation_seed"] for point in points}) == len(points)


def test_interpolations_in_values_are_those_of_the_point(sweep: Sweep):
    points = sweep(
        *(RANDOM, "++variables.x=2,3", "++variables.depths=[4,5]"),
        "sweep.zip={circuits.num_qubits:['${variables.x}',5],circuits.depth:'${variables.depths}'}",
    )
    found = {values(point)["circuits.num_qubits"] for point in points}
    assert found == {"'${variables.x}'", "5"}
    assert [values(point)["circuits.depth"] for point in points] == ["4", "4", "5", "5"]


def test_the_command_line_takes_the_place_of_params(launcher: StubLauncher, sweep: Sweep):
    swept = sweep(RANDOM, "circuits.depth=2,3", "circuits.depth=4")
    assert [values(point).get("sweep.keys") for point in swept] == [None]
    assert values(swept[0])["circuits.depth"] == "4"


def test_a_sample_of_few_values_says_that_points_are_equal(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
):
    sample = "sweep.sample={method:random,n:20,keys:{transpile.optimization_level:[0,1]}}"
    assert len(sweep(RANDOM, sample)) == 2
    assert capsys.readouterr().err == (
        "qexp: warning: sweep.sample: 2 of 20 points, the others are equal to one of them\n"
    )
    assert len(sweep(RANDOM, sample.replace("20", "1"))) == 1
    assert capsys.readouterr().err == ""


def test_the_declared_seed_decides_a_sample(sweep: Sweep):
    sample = "sweep.sample={method:halton,n:2,keys:{circuits.depth:[1,1000000]}}"
    depths = [[values(point)["circuits.depth"] for point in sweep(RANDOM, sample)]]
    depths += [[values(point)["circuits.depth"] for point in sweep(RANDOM, sample, "seed=1")]]
    assert len({depth for each in depths for depth in each}) == 4
    more = [values(point)["circuits.depth"] for point in sweep(RANDOM, sample.replace("2", "3", 1))]
    assert more[:2] == depths[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["sweep.zip={circuits.depth:[2,-1]}"],
            r"^sweep point 'circuits\.depth=-1' \(sweep\.zip, position 2\): circuits\.depth: got",
        ),
        (
            ["sweep.points=[{foo:1}]"],
            r"^sweep point 'foo=1' \(sweep\.points, point 1\): foo: unkno",
        ),
        (
            ["sweep.zip={seed:[1,2]}", "seed=3"],
            r"^seed: given by sweep\.zip and by 'seed=3'; keep one of them",
        ),
        (
            ["sweep.zip={seed:[1,2]}", "sweep.points=[{seed:1}]"],
            r"^seed: given by sweep\.zip and by sweep\.points; keep one of them",
        ),
        (["sweep.zap={seed:[1,2]}"], r"^sweep\.zap: unknown key; did you mean 'zip'\?"),
        (["sweep.points=3"], r"^sweep\.points: got 3; it must be a valid list"),
    ],
)
def test_points_that_are_wrong_are_refused_before_any_is_launched(
    sweep: Sweep, launcher: StubLauncher, arguments: list[str], message: str
):
    with pytest.raises(ConfigError, match=message):
        sweep(RANDOM, *arguments)
    assert launcher.batches == []
