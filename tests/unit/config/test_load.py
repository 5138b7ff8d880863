from __future__ import annotations

import re

import pytest

from qexp.config.load import load
from qexp.core.spec import ExecutionPolicy
from qexp.errors import ConfigError
from tests.unit.config.conftest import composed


def test_a_simple_experiment_has_one_workload_named_main(load_spec):
    spec = load_spec("experiment=random_sampling", "circuits.depth=8", "seed=7")
    (workload,) = spec.workloads
    assert workload.name == "main"
    assert workload.primitive.kind == "sampler"
    assert workload.primitive.implementation == "client"
    assert workload.primitive.shots == 4096
    assert (spec.seed, spec.noise_seed) == (7, 7)
    assert load_spec("experiment=random_sampling", "simulation_seed=3").noise_seed == 3
    assert spec.experiment == "random_sampling"
    assert spec.partition.max_circuits == 100
    assert "depth: 8" in spec.config_yaml


def test_the_guides_case_has_two_workloads_in_one_run(load_spec):
    spec = load_spec("experiment=estimator_and_sampler")
    assert [(w.name, w.primitive.kind) for w in spec.workloads] == [
        ("estimator", "estimator"),
        ("sampler", "sampler"),
    ]


@pytest.mark.parametrize(("text", "seconds"), [("25m", 1500), ("90", None), ("1h30m", 5400)])
def test_max_time(load_spec, text, seconds):
    if seconds is None:
        assert load_spec("experiment=random_sampling", f"batch.max_time={text}").max_time_s == 90
    else:
        spec = load_spec("experiment=random_sampling", f"batch.max_time={text}")
        assert spec.max_time_s == seconds


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["circuits.dept=8"],
            r"^circuits\.dept: unknown key; did you mean 'depth'\? allowed in 'circuits': .*depth",
        ),
        (["circuits.depth=abc"], r"^circuits\.depth: got 'abc'; it must be a valid integer"),
        (["circuits.depth=-1"], r"^circuits\.depth: got -1; it must be greater than"),
        (["circuits.num_circuits=true"], r"^circuits\.num_circuits: got True; .*integer"),
        (["seed=-1"], r"^seed: got -1; it must be greater than or equal to 0"),
        (["seed=9223372036854775808"], r"^seed: got 9223372036854775808; it must be less than"),
        (["simulation_seed=-1"], r"^simulation_seed: got -1; it must be greater than or equal"),
        (["sweep.order=up"], r"^sweep\.order: got 'up'; it must be 'interleaved', 'declared' or"),
        (["sweep.pack=soon"], r"^sweep\.pack: 'soon' is not a duration"),
        (["sweep.block=0"], r"^sweep\.block: got 0"),
        (["sweep.seed=own"], r"^sweep\.seed: got 'own'; it must be 'derived', 'shared' or 'indep"),
        (["sweep.value=mine"], r"^sweep\.value: got 'mine'"),
        (["sweep.value=a.b"], r"^sweep\.value: got a\.b, but no analysis 'a' is declared; allow"),
        (["+sede=1"], r"^sede: unknown key; did you mean 'seed'\?"),
        (["backend=ibm"], r"^backend\.name: a value is needed; set it on the command line"),
        (["stop_after=never"], r"^stop_after: got 'never'; it must be 'plan' or 'submit'"),
        (["stop_after=submit"], r"^stop_after=submit: the jobs of engine 'local' run in this proc"),
        (["run_dir=3"], r"^run_dir: got 3; it must be a valid string"),
        (["execution.retry=3"], r"^execution\.retry: unknown key; did you mean 'retries'\?"),
        (["execution.retries=-1"], r"^execution\.retries: got -1; it must be greater than or eq"),
        (["execution.on_interrupt=stop"], r"^execution\.on_interrupt: got 'stop'; it must be 'le"),
        (["execution.max_pending=0"], r"^execution\.max_pending: got 0; it must be greater than"),
        (["execution.submit_interval_s=0"], r"^execution\.submit_interval_s: got 0; it must be gr"),
        (["execution.deadline=soon"], r"^execution\.deadline: 'soon' is not a duration; "),
        (["execution.outage=0"], r"^execution\.outage: 0 is not a duration; "),
        (["execution.outage=null"], r"^execution\.outage: got None; "),
        (["budget.qpu=soon"], r"^budget\.qpu: 'soon' is not a duration; "),
        (["budget.qpu=0"], r"^budget\.qpu: 0 is not a duration; "),
        (["budget.qpus=5m"], r"^budget\.qpus: unknown key; did you mean 'qpu'\?"),
        (["batch.max_time=soon"], r"^batch\.max_time: "),
        (["primitive.kind=samplr"], r"^primitive\.kind: got 'samplr'; it must be 'sampler' or"),
        (["primitive.shots=0"], r"^primitive\.shots: got 0; it must be greater than 0"),
        (
            ["primitive.shots=null", "primitive.options.default_shots=0"],
            r"^primitive\.options\.default_shots: got 0; it must be at least 1",
        ),
        (
            ["primitive.options.max_execution_time=-4"],
            r"^primitive\.options\.max_execution_time: got -4; it must be at least 1",
        ),
        (
            ["primitive.options.execution.rep_delay=-1.0"],
            r"^primitive\.options\.execution\.rep_delay: got -1\.0; it must not be negative",
        ),
        (["metadata.creators=[{nam: Ada}]"], r"^metadata\.creators\.0\.nam: unknown key; did you"),
        (["metadata.creators=[{name: ''}]"], r"^metadata\.creators\.0\.name: got ''; "),
        (
            ["metadata.creators=[{name: Ada, orcid: 0000-0002-1825-0098}]"],
            r"^metadata\.creators\.0\.orcid: got '0000-0002-1825-0098'; a digit .* ends in 7",
        ),
        (
            ["metadata.creators=[{name: Ada, orcid: 'https://orcid.org/0000-0002-1825-0097'}]"],
            r"^metadata\.creators\.0\.orcid: .*such as 0000-0002-1825-0097, without a web address",
        ),
        (["metadata.license=cc-by-4.0"], r"^metadata\.license: .*; did you mean CC-BY-4\.0\?"),
        (["metadata.license=free"], r"^metadata\.license: got 'free'; it must be an SPDX ident"),
        (
            ["metadata.funding=[{grant: 12a}]"],
            r"^metadata\.funding\.0\.funder: a value is needed",
        ),
        (
            ["metadata.publisher={name: Lab, url: lab.org}"],
            r"^metadata\.publisher\.url: got 'lab\.org'; it must be a web address",
        ),
        (["batch=3"], r"^batch: got 3; it must be a mapping of keys"),
        (["~engine"], r"^engine: a value is needed; begin the backend's file with"),
        (["primitive.precision=0.1"], r"^primitive\.precision: got 0\.1, but a sampler takes"),
        (
            ["primitive.shots=4096", "primitive.options.default_shots=10"],
            r"^primitive\.shots: got 4096, but primitive\.options\.default_shots says 10",
        ),
        (
            ["primitive.options.dynamical_decoupling.enabel=true"],
            r"^primitive\.options\.dynamical_decoupling\.enabel: .*enable",
        ),
        (
            [
                "primitive.implementation=legacy",
                "primitive.options.dynamical_decoupling.enable=true",
            ],
            r"does not honour dynamical_decoupling\.enable=True; .*allow_ignored_options=true",
        ),
        (
            ["experiment=ising", "primitive.options.twirling.num_randomizations=8"],
            r"does not honour twirling\.num_randomizations=8; .*as by resilience_level",
        ),
        (["circuits._target_=nowhere.circuits"], r"^circuits\._target_: cannot import 'nowhere'"),
        (
            ["circuits._target_=qexp.circuits.random.randm_circuits"],
            r"circuits\._target_, does not exist; did you mean 'random_circuits'\?",
        ),
        (["circuits._target_=builtins.eval"], r"^circuits\._target_: 'builtins.eval' is not all"),
        (["circuits._target_=3"], r"^circuits\._target_: got 3; it must be the dotted name"),
        (["name=../up"], r"^name: got '\.\./up'; "),
        (["+partition.max_circuit=5"], r"^partition\.max_circuit: unknown key; did you mean"),
        (["partition.max_circuits=0"], r"^partition\.max_circuits: got 0; it must be greater"),
        (["+workloads.a.circuit.depth=5"], r"^workloads\.a\.circuit: unknown key; did you mean"),
        (
            ["engine._target_=builtins.object"],
            r"^engine\._target_: 'builtins.object' is not allowed",
        ),
        (["engine._target_=qexp.errors.QexpError"], r"^engine\._target_: .* has no signature"),
        (["engine._target_=pathlib.PurePath"], r"^engine\.allow_ignored_options: unknown key"),
        (["transpile.optimization_level=4"], r"^transpile\.optimization_level: got 4; .*3"),
        (["backend.nam=x"], r"^backend\.nam: unknown key; did you mean 'name'\?"),
    ],
)
def test_a_mistake_is_one_line_that_names_key_value_and_what_is_allowed(
    load_spec, overrides, message
):
    with pytest.raises(ConfigError) as caught:
        load_spec("experiment=random_sampling", *overrides)
    assert "\n" not in str(caught.value)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_metadata_of_a_publication(load_spec):
    spec = load_spec(
        "experiment=ghz",
        "metadata.creators=[{name: Ada, orcid: 0000-0002-1694-233X, affiliation: Lab,"
        " affiliation_url: 'https://ror.org/02mhbdp94'}, {name: Bob}]",
        "metadata.publisher={name: Zenodo, url: 'https://zenodo.org'}",
        "metadata.funding=[{funder: Agency, grant: 12a, url: 'https://agency.org/12a'}]",
        "metadata.license='https://creativecommons.org/licenses/by/4.0/'",
    )
    assert [creator["name"] for creator in spec.metadata["creators"]] == ["Ada", "Bob"]
    assert spec.metadata["publisher"]["url"] == "https://zenodo.org"
    assert spec.metadata["funding"][0]["grant"] == "12a"
    assert spec.metadata["license"].startswith("https://creativecommons.org")


def test_how_jobs_are_driven(load_spec):
    assert load_spec("experiment=ghz").policy == ExecutionPolicy()
    spec = load_spec(
        "experiment=ghz",
        "execution.on_interrupt=cancel",
        "execution.retries=0",
        "execution.retry_too_long=true",
        "execution.follow_ups=1",
        "execution.max_pending=3",
        "execution.submit_interval_s=0.5",
        "execution.deadline=12h",
        "execution.outage=20",
    )
    assert spec.policy == ExecutionPolicy("cancel", 0, True, 1, 3, 0.5, 43200, 20.0)


def test_stop_after_submit_is_for_jobs_that_outlive_this_process(load_spec):
    spec = load_spec("experiment=ghz", "backend=least_busy", "stop_after=submit")
    assert spec.stop_after == "submit"


def select_named(pinned: str | None = None):
    return pinned


def test_a_selector_is_told_which_backend_was_selected_before(load_spec):
    selector = f"backend._target_={__name__}.select_named"
    spec = load_spec("experiment=ghz", "~backend.name", selector)
    assert spec.select_backend(None) is None
    assert spec.select_backend("ibm_x") == "ibm_x"


def test_a_sweep_goes_on_with_no_run(tmp_path):
    (tmp_path / "journal.jsonl").touch()
    config = composed("experiment=ghz", f"run_dir={tmp_path}", "hydra.mode=MULTIRUN")
    with pytest.raises(ConfigError, match=r"^run_dir: names one run, which a sweep cannot resume"):
        load(config)


def test_nothing_to_run(load_spec):
    with pytest.raises(ConfigError, match=r"^circuits: nothing is declared to run; choose an exp"):
        load_spec()


def test_a_top_level_part_that_no_workload_uses_is_refused(load_spec):
    with pytest.raises(ConfigError, match=r"^circuits: would have no effect"):
        load_spec("experiment=estimator_and_sampler", "circuits=random")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "primitive.shots=3",
            r"^primitive: nothing is chosen .*workloads are: estimator, sampler$",
        ),
        (
            "workloads.samler.primitive.shots=3",
            r"^workloads\.samler\.primitive: nothing is chosen .*are: estimator, sampler, samler$",
        ),
    ],
)
def test_a_misspelt_workload_lists_those_that_exist(load_spec, override, message):
    with pytest.raises(ConfigError, match=message):
        load_spec("experiment=estimator_and_sampler", override)


def test_a_transpile_node_that_no_workload_uses_is_refused(load_spec):
    own = [f"workloads.{name}.transpile.optimization_level=2" for name in ("estimator", "sampler")]
    assert load_spec("experiment=estimator_and_sampler", *own).workloads[0].transpile
    with pytest.raises(ConfigError, match=r"^transpile: would have no effect, because every"):
        load_spec("experiment=estimator_and_sampler", *own, "transpile.optimization_level=3")


def test_all_mistakes_are_told_at_once(load_spec):
    with pytest.raises(ConfigError) as caught:
        load_spec("experiment=random_sampling", "seed=-1", "partition.max_circuits=0")
    assert "seed: got -1" in str(caught.value)
    assert "partition.max_circuits: got 0" in str(caught.value)


def test_an_option_that_is_not_honoured_can_be_allowed(load_spec):
    spec = load_spec(
        "experiment=random_sampling",
        "primitive.implementation=legacy",
        "primitive.options.dynamical_decoupling.enable=true",
        "engine.allow_ignored_options=true",
    )
    ignored = spec.engine.ignored_options(spec.workloads[0].primitive)
    assert ignored == {"dynamical_decoupling.enable": True}


def test_sources_hold_the_files_that_declare_the_experiment(load_spec):
    spec = load_spec("experiment=chsh")
    names = [source.name for source in spec.sources]
    assert "conf/experiment/chsh.yaml" in names
    assert "conf/qexp.yaml" in names
    assert "experiments/chsh.py" in names


def test_exact_expectation_values_want_an_estimator(load_spec):
    exact = "engine.exact_expectation_values=true"
    assert load_spec("experiment=estimator_and_sampler", exact).engine.exact_expectation_values
    with pytest.raises(ConfigError, match=r"no workload has an Estimator.*; leave it out"):
        load_spec("experiment=random_sampling", exact)
