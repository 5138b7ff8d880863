"""Jobs on the simulator: options in force, seeds, and what is recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qexp.core.model import JobRequest
from qexp.core.seeds import as_int
from qexp.engines.local.backends import calibration
from qexp.engines.local.job import Simulated
from qexp.engines.options import DEFAULT_SHOTS
from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub
    from qexp.simulator import NoisyEstimator, NoisySampler


class Simulation:
    """Runs jobs on a simulated backend.

    It can be pickled for worker processes; the noise and PUBs that it holds stay behind.

    Args:
        backend: See `qexp.simulator.make_device`.
        exact: Give exact expectation values instead of estimating them from samples.
    """

    def __init__(self, backend: BackendV2, exact: bool = False) -> None:
        self.backend = backend
        self.exact = exact
        self._loaded: tuple[str, Sequence[Pub]] = ("", ())

    def __reduce__(self) -> tuple[type[Simulation], tuple[BackendV2, bool]]:
        return type(self), (self.backend, self.exact)

    def run(self, request: JobRequest, pubs: Sequence[Pub]) -> Simulated:
        """Simulate some PUBs of a job, seeded by the request's seed.

        Raises:
            EngineError: The simulator reports a failure.
        """
        from qexp.simulator import SimulationError

        options, seed = self.options_in_force(request), _seed(request)
        try:
            if request.primitive.kind == "sampler":
                result = self._sampler.sample(pubs, shots=options["default_shots"], seed=seed)
                circuits = [int(pub.parameter_values.size) for pub in pubs]
            else:
                result = self._estimator.estimate(
                    self._with_precision(pubs), precision=options["default_precision"], seed=seed
                )
                circuits = [self._estimator.count_circuits(pub) for pub in pubs]
        except SimulationError as error:
            raise EngineError(str(error)) from error
        return Simulated(
            result=result,
            executions=tuple(
                number * one.metadata["shots"] for number, one in zip(circuits, result, strict=True)
            ),
            options=options,
            backend_properties=self.properties,
            info=self._device.info,
        )

    def load_pubs(self, request: JobRequest) -> Sequence[Pub]:
        """Load the PUBs of a job; those of the newest are kept for its other chunks."""
        if self._loaded[0] != request.tag or not request.tag:
            self._loaded = request.tag, request.load_pubs()
        return self._loaded[1]

    def options_in_force(self, request: JobRequest) -> dict[str, Any]:
        """Return what is done whatever was declared, in the terms of IBM's options."""
        primitive, declared = request.primitive, request.primitive.options
        seed = declared.get("simulator", {}).get("seed_simulator")
        options: dict[str, Any] = {
            "default_shots": None,
            "dynamical_decoupling": {"enable": False},
            "environment": {"job_tags": list(request.tags)},
            "execution": {"init_qubits": True},
            "simulator": {"seed_simulator": request.seed if seed is None else seed},
            "twirling": {"enable_gates": False, "enable_measure": False},
        }
        shots = declared.get("default_shots")
        if primitive.kind == "sampler":
            shots = request.partition.shots or primitive.shots or shots
            options["default_shots"] = shots or DEFAULT_SHOTS
            options["execution"]["meas_type"] = "classified"
            return options
        precision = (
            request.partition.precision
            or primitive.precision
            or declared.get("default_precision")
            or 1 / math.sqrt(shots or DEFAULT_SHOTS)
        )
        return options | {
            "default_precision": 0.0 if self.exact else float(precision),
            "resilience_level": 0,
            "resilience": {
                "measure_mitigation": False,
                "zne_mitigation": False,
                "pec_mitigation": False,
            },
        }

    def objection(self, pub: EstimatorPub) -> str | None:
        """Return why an Estimator PUB cannot be run, as a clause about its circuit, or None."""
        why = self._estimator.exact_objection(pub) if self.exact else None
        if why is None:
            return None
        return f"{why}; set engine.exact_expectation_values=false to sample them"

    @cached_property
    def properties(self) -> Mapping[str, Any] | None:
        """The calibration that is simulated, JSON-able, or None."""
        return calibration(self.backend)

    @cached_property
    def _device(self) -> Any:
        from qexp.simulator import make_device

        return make_device(self.backend)

    @cached_property
    def _sampler(self) -> NoisySampler:
        from qexp.simulator import NoisySampler

        return NoisySampler(self._device)

    @cached_property
    def _estimator(self) -> NoisyEstimator:
        from qexp.simulator import NoisyEstimator

        return NoisyEstimator(self._device)

    def _with_precision(self, pubs: Sequence[Pub]) -> Sequence[Any]:
        """Return Estimator PUBs whose own precisions are replaced where values are exact."""
        if not self.exact:
            return pubs
        from qiskit.primitives.containers.estimator_pub import EstimatorPub

        return [
            EstimatorPub(pub.circuit, pub.observables, pub.parameter_values, 0.0, validate=False)
            for pub in pubs
        ]


def _seed(request: JobRequest) -> int:
    """Return the job's seed, mixed with the seed that the primitive's options declare, if any."""
    import numpy as np

    options = request.primitive.options
    declared = options.get("simulator", {}).get("seed_simulator", options.get("seed_estimator"))
    if declared is None:
        return request.seed
    return as_int(np.random.SeedSequence([request.seed, declared]))
