from __future__ import annotations

from typing import Any

import pytest

from qexp.core.model import FINAL_STATES, Implementation, JobOutcome, PrimitiveKind, PrimitiveSpec
from qexp.engines.runtime_local import RuntimeLocalEngine
from qexp.errors import ConfigError
from tests.unit.engines.jobs import go_on, isa_pub, request

ENGINE = RuntimeLocalEngine()


@pytest.fixture(scope="module")
def backend() -> Any:
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    return FakeManilaV2()


def run(engine: RuntimeLocalEngine, backend: Any, spec: PrimitiveSpec, pubs: list[Any]) -> Any:
    batch = engine.open_batch(backend, max_time_s=None)
    job_id = batch.submit(request(spec, pubs))
    batch.close()
    while batch.states()[job_id] not in FINAL_STATES:
        batch.wait(60, go_on)
    outcome = batch.collect(job_id)
    assert outcome.error is None
    return outcome


@pytest.mark.parametrize("implementation", ["client", "legacy"])
@pytest.mark.parametrize("kind", ["sampler", "estimator"])
def test_a_job(backend: Any, kind: PrimitiveKind, implementation: Implementation) -> None:
    pub = isa_pub(kind, backend)
    outcome: JobOutcome = run(ENGINE, backend, PrimitiveSpec(kind, implementation), [pub, pub])
    assert outcome.result is not None
    assert len(outcome.result) == 2
    assert [span.size for span in outcome.spans] == [50, 50]
    assert outcome.options["simulator"]["seed_simulator"] == 11
    assert outcome.backend_properties is not None
    assert isinstance(outcome.backend_properties["last_update_date"], str)
    if kind == "sampler":
        counts = outcome.result[0].data.meas.get_counts()
        assert max(counts, key=counts.__getitem__) == "01"
    else:
        assert outcome.result[0].data.evs < -0.5


def test_details_have_all_fields(backend: Any) -> None:
    batch = ENGINE.open_batch(backend, max_time_s=600)
    details = batch.details()
    batch.close()
    assert len(details) == 15
    assert (details["mode"], details["max_time"]) == ("local", 600)
    assert details["backend_name"] == backend.name


def test_twirling_is_honoured_and_its_executions_are_counted(backend: Any) -> None:
    spec = PrimitiveSpec("sampler", options={"twirling": {"enable_measure": True}})
    assert ENGINE.ignored_options(spec) == {}
    outcome = run(ENGINE, backend, spec, [isa_pub("sampler", backend)])
    assert outcome.result[0].metadata["num_randomizations"] == 1
    assert [span.size for span in outcome.spans] == [64]


@pytest.mark.parametrize(
    ("kind", "implementation", "options", "expected"),
    [
        ("sampler", "client", {"dynamical_decoupling": {"enable": True}}, set()),
        ("sampler", "client", {"simulator": {"angle_decimals": 3}}, set()),
        ("estimator", "client", {"resilience_level": 2}, set()),
        ("estimator", "client", {"resilience": {"zne_mitigation": True}}, set()),
        ("sampler", "client", {"execution": {"init_qubits": True}}, set()),
        ("sampler", "client", {"execution": {"init_qubits": False}}, {"execution.init_qubits"}),
        ("sampler", "client", {"execution": {"meas_type": "kerneled"}}, {"execution.meas_type"}),
        ("sampler", "client", {"max_execution_time": 5}, {"max_execution_time"}),
        ("sampler", "legacy", {"dynamical_decoupling": {"enable": True}},
         {"dynamical_decoupling.enable"}),
        ("sampler", "legacy", {"simulator": {"seed_simulator": 0}}, {"simulator.seed_simulator"}),
        ("sampler", "legacy", {"simulator": {"seed_simulator": 4}}, set()),
        ("estimator", "legacy", {"seed_estimator": 4}, {"seed_estimator"}),
        ("estimator", "legacy", {"resilience_level": 1}, {"resilience_level"}),
        ("estimator", "legacy", {"default_precision": 0.1}, set()),
    ],
)  # fmt: skip
def test_ignored_options(
    kind: PrimitiveKind, implementation: Implementation, options: Any, expected: set[str]
) -> None:
    assert (
        set(ENGINE.ignored_options(PrimitiveSpec(kind, implementation, options=options)))
        == expected
    )


@pytest.mark.parametrize("implementation", ["client", "legacy"])
def test_ignored_options_are_left_out(backend: Any, implementation: Implementation) -> None:
    options = {
        "execution": {"init_qubits": False, "meas_type": "kerneled"},
        "environment": {"private": True, "job_tags": ["mine"]},
    }
    spec = PrimitiveSpec("sampler", implementation, options=options)
    outcome = run(RuntimeLocalEngine(True), backend, spec, [isa_pub("sampler", backend)])
    assert outcome.options["environment"]["private"] is False
    assert outcome.options["environment"]["job_tags"] == ["t", "mine"]
    assert outcome.options.get("execution", {}).get("init_qubits", True) is True


def test_refuses_an_object_that_is_no_backend() -> None:
    with pytest.raises(ConfigError, match="engine=runtime-local cannot simulate"):
        ENGINE.check_backend("FakeManilaV2")  # type: ignore[arg-type]
