from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from qexp.config.load import load
from qexp.errors import ConfigError
from tests.unit.config.conftest import composed


def test_a_projects_defaults_come_between_qexps_and_an_experiments(own_process: None):
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/project.yaml").write_text(
        "defaults: [override /backend: aer, override /metadata: lab, _self_]\n"
        "seed: 7\nprimitive: {shots: 100}\nbatch: {max_time: 5m}\nvariables: {sizes: [2, 3]}\n"
    )
    Path("conf/metadata").mkdir()
    Path("conf/metadata/lab.yaml").write_text("license: CC-BY-4.0\n")
    Path("conf/experiment/mine.yaml").write_text(
        "# @package _global_\ndefaults: [override /circuits: ghz, override /primitive: sampler]\n"
        "circuits: {num_qubits: '${variables.sizes}'}\nbatch: {max_time: 9m}\n"
    )
    spec = load(composed("experiment=mine", "variables.sizes=[2,4]", "seed=8"))
    config = yaml.safe_load(spec.config_yaml)
    assert config["backend"] == {"_target_": "qexp.engines.local.backends.aer"} | {
        name: config["backend"][name] for name in ("num_qubits", "method")
    }
    assert spec.seed == 8
    assert spec.workloads[0].primitive.shots == 100
    assert config["circuits"]["num_qubits"] == [2, 4]
    assert config["metadata"]["license"] == "CC-BY-4.0"
    assert spec.max_time_s == 540
    assert "conf/project.yaml" in {source.name for source in spec.sources}
    # An experiment's choice wins over the project's, and the command line over both.
    assert composed("experiment=mine", "backend=local").backend.name == "FakeManilaV2"


def test_a_primary_config_of_the_users_is_refused(own_process: None):
    Path("conf").mkdir()
    Path("conf/qexp.yaml").write_text("seed: 3\n")
    with pytest.raises(ConfigError, match=r"conf/qexp\.yaml: would .* in .*conf/project\.yaml, "):
        composed("experiment=ghz")
