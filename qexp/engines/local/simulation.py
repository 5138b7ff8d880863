"""PUBs of jobs on the simulator: seeds, and options in force."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from qexp.core.mitigation import unseeded_folding
from qexp.core.model import Forecast, JobRequest, PrimitiveSpec
from qexp.core.seeds import as_int
from qexp.engines.local.backends import calibration
from qexp.engines.local.batch import Simulated
from qexp.engines.local.options import is_compiled
from qexp.engines.options import DEFAULT_SHOTS
from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub
    from qexp.engines.local.programs import Programs
    from qexp.simulator import NoisyEstimator, NoisySampler
    from qexp.simulator.protocols import Prediction

_KEPT_JOBS = 2
"""Jobs whose PUBs are kept: the one that is simulated, and the one after it."""

_NARROW, _FEW_SETS = 8, 10  # up to which the time of a PUB is not predicted


_COMPILED = "IBM's client compiles it for primitive.options, and it is simulated by the best method"


class Simulation:
    """Simulates PUBs on one backend.

    It can be pickled for worker processes; the noise and PUBs that it holds stay behind.

    Args:
        backend: See `qexp.simulator.make_device`.
        exact: Give exact expectation values instead of estimating them from samples.
        method, approximate_noise: See `LocalEngine`.
    """

    def __init__(
        self,
        backend: BackendV2,
        exact: bool = False,
        method: str | None = None,
        approximate_noise: bool = False,
    ) -> None:
        self.backend = backend
        self.exact = exact
        self.method = method
        self.approximate_noise = approximate_noise
        self.how = exact, method, approximate_noise
        self._loaded: dict[tuple[Any, ...], Sequence[Pub]] = {}

    def __reduce__(self) -> tuple[type[Simulation], tuple[Any, ...]]:
        return type(self), (self.backend, *self.how)

    def run(
        self,
        request: JobRequest,
        pubs: Sequence[Pub],
        only: range | None = None,
        sets: range | None = None,
    ) -> Simulated:
        """Simulate some PUBs of a job, seeded by the request's seed.

        Args:
            request: The job.
            pubs: The PUBs that the seed is for.
            only: Indices of those to simulate; None: all.
            sets: Indices of the parameter sets to simulate, if that is one PUB; see `block_sets`.

        Raises:
            EngineError: The simulator reports a failure.
        """
        options, seed = self.options_in_force(request), _seed(request)
        wanted = pubs if only is None else pubs[only.start : only.stop]
        with _reported():
            if is_compiled(request.primitive):
                simulated = self._programs.run(request, pubs, only or range(len(pubs)), seed)
                return replace(simulated, backend_properties=self.properties)
            if request.primitive.kind == "sampler":
                shots = options["default_shots"]
                result = self._sampler.sample(pubs, shots=shots, seed=seed, only=only, sets=sets)
                circuits = [int(pub.parameter_values.size) for pub in wanted]
            else:
                precision = options["default_precision"]
                result = self._estimator.estimate(
                    self._with_precision(pubs),
                    precision=precision,
                    seed=seed,
                    only=only,
                    sets=sets,
                )
                circuits = [self._estimator.count_circuits(pub) for pub in wanted]
        return Simulated(
            result=result,
            executions=tuple(
                number * one.metadata["shots"] for number, one in zip(circuits, result, strict=True)
            ),
            options=options,
            backend_properties=self.properties,
            info=self._device.info,
            methods=tuple(one.method for one in self.predict(request, wanted)),
        )

    def predict(self, request: JobRequest, pubs: Sequence[Pub]) -> Iterator[Prediction]:
        """Predict methods and costs of some PUBs of a job, one after the other.

        Raises:
            EngineError: A PUB cannot be simulated.
        """
        if is_compiled(request.primitive):
            with _reported():
                yield from (self._programs.predict(request.primitive, pub) for pub in pubs)
            return
        options = self.options_in_force(request)
        with _reported():
            if request.primitive.kind == "sampler":
                for pub in pubs:
                    yield self._sampler.predict(pub, shots=options["default_shots"])
            else:
                for pub in self._with_precision(pubs):
                    yield self._estimator.predict(pub, precision=options["default_precision"])

    def block_sets(self, request: JobRequest, pub: Pub) -> int:
        """Return of how many parameter sets the blocks are of which a PUB can be simulated apart.

        A job has as many of them in each range of `run` but the last.
        """
        if is_compiled(request.primitive):
            return pub.parameter_values.size
        if request.primitive.kind == "sampler":
            return self._sampler.block_sets(pub)
        precision = self.options_in_force(request)["default_precision"]
        return self._estimator.block_sets(*self._with_precision([pub]), precision=precision)

    def load_pubs(self, request: JobRequest) -> Sequence[Pub]:
        """Load the PUBs of a job; those of the newest are kept for its other chunks."""
        job = request.tag, request.partition, request.attempt
        pubs = self._loaded.get(job) if request.tag else None
        if pubs is None:
            pubs = request.load_pubs()
            self._loaded = dict([*self._loaded.items(), (job, pubs)][-_KEPT_JOBS:])
        return pubs

    def forget_pubs(self) -> None:
        """Keep nothing of any job: the simulation outlives its batches."""
        self._loaded = {}
        vars(self).pop("_programs", None)

    def options_in_force(self, request: JobRequest) -> dict[str, Any]:
        """Return the options by which a job is run, in the terms of IBM's options."""
        if is_compiled(request.primitive):
            return self._programs.options_in_force(request)
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

    def objection(self, primitive: PrimitiveSpec, pub: Pub) -> str | None:
        """Return why a PUB cannot be run as the engine is set, as a clause about it, or None."""
        is_estimator = hasattr(pub, "observables")
        if is_compiled(primitive):
            return self._compiled_objection(primitive, pub)
        if self.exact and is_estimator and (why := self._estimator.exact_objection(pub)):
            return f"{why}; set engine.exact_expectation_values=false to sample them"
        if self.method is None:
            return None
        if is_estimator:
            why = self._estimator.objection(pub, exact=self.exact)
        else:
            why = self._sampler.objection(pub)
        return why and f"{why}; set engine.method=null to have another chosen"

    def _compiled_objection(self, primitive: PrimitiveSpec, pub: Pub) -> str | None:
        if self.exact and hasattr(pub, "observables"):
            return "its values are made of samples; set engine.exact_expectation_values=false"
        if self.method is not None:
            return f"{_COMPILED}; set engine.method=null"
        if self.approximate_noise:
            return f"{_COMPILED} with exact noise; set engine.approximate_noise=false"
        return unseeded_folding(primitive) or self._programs.objection(primitive, pub)

    def forecast(self, primitive: PrimitiveSpec, pub: Pub) -> Forecast:
        """Predict the simulation of a PUB; what a simulator of the user's own takes counts as 0."""
        if is_compiled(primitive):
            seconds, size = self._programs.predict(primitive, pub).cost or (0.0, 0)
            return Forecast(seconds, seconds, size)
        if pub.parameter_values.size <= _FEW_SETS and _is_narrow(pub.circuit):
            return Forecast()  # milliseconds, less than it takes to predict them for many PUBs
        if not hasattr(pub, "observables"):
            predicted = self._sampler.predict(pub, shots=pub.shots)
            block_sets = partial(self._sampler.block_sets, pub)
        else:
            given = self._with_precision([pub])[0]
            predicted = self._estimator.predict(given, precision=given.precision)
            block_sets = partial(self._estimator.block_sets, given, precision=given.precision)
        seconds, size = predicted.cost or (0.0, 0)
        stated, sets = predicted.approximation, pub.parameter_values.size
        longest_s = seconds * min(sets, block_sets()) / sets if sets > 1 else seconds
        return Forecast(seconds, longest_s, size, (stated,) if stated else ())

    @cached_property
    def properties(self) -> Mapping[str, Any] | None:
        """The calibration that is simulated, JSON-able, or None."""
        return calibration(self.backend)

    @cached_property
    def _device(self) -> Any:
        from qexp.simulator import make_device

        return make_device(self.backend, approximate_noise=self.approximate_noise)

    @cached_property
    def _sampler(self) -> NoisySampler:
        from qexp.simulator import NoisySampler

        return NoisySampler(self._device, method=self.method)

    @cached_property
    def _estimator(self) -> NoisyEstimator:
        from qexp.simulator import NoisyEstimator

        return NoisyEstimator(self._device, method=self.method)

    @cached_property
    def _programs(self) -> Programs:
        from qexp.engines.local.programs import Programs

        return Programs(self.backend, self._device, self._sampler)

    def _with_precision(self, pubs: Sequence[Pub]) -> Sequence[Any]:
        """Return Estimator PUBs, with precision 0 where values are exact."""
        if not self.exact:
            return pubs
        from qiskit.primitives.containers.estimator_pub import EstimatorPub

        return [
            EstimatorPub(pub.circuit, pub.observables, pub.parameter_values, 0.0, validate=False)
            for pub in pubs
        ]


@contextmanager
def _reported() -> Iterator[None]:
    """Raise errors of the simulator as those of the engine."""
    from qexp.simulator import SimulationError

    try:
        yield
    except SimulationError as error:
        raise EngineError(str(error)) from error


def _is_narrow(circuit: QuantumCircuit) -> bool:
    if circuit.num_qubits <= _NARROW:
        return True
    busy: set[Any] = set()
    for item in circuit.data:
        busy.update(item.qubits)
        if len(busy) > _NARROW:
            return False
    return True


def _seed(request: JobRequest) -> int:
    """Return the job's seed, mixed with the seed that the primitive's options declare, if any."""
    import numpy as np

    options = request.primitive.options
    declared = options.get("simulator", {}).get("seed_simulator", options.get("seed_estimator"))
    if declared is None:
        return request.seed
    return as_int(np.random.SeedSequence([request.seed, declared]))
