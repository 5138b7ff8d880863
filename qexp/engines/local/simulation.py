"""Jobs on the simulator: seeds, options in force, and chunks that worker processes share."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from qexp.core.mitigation import unseeded_folding
from qexp.core.model import Forecast, JobRequest, PrimitiveSpec
from qexp.core.seeds import as_int, child
from qexp.engines.local.backends import calibration
from qexp.engines.local.batch import Simulated, joined
from qexp.engines.local.options import is_compiled
from qexp.engines.options import DEFAULT_SHOTS
from qexp.errors import EngineError
from qexp.workers import NotShareableError, Shared, Workers

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub
    from qexp.engines.local.programs import Programs
    from qexp.simulator import NoisyEstimator, NoisySampler
    from qexp.simulator.protocols import Prediction

_log = logging.getLogger(__name__)

CHUNK_PUBS = 25
"""PUBs of one chunk."""

_WORTH_WORKERS = 3
"""Chunks of a job from which on starting worker processes costs less than it saves."""

_WORTH_WORKERS_S = 1.0
"""Predicted time of a job of few PUBs from which on it does."""

_NARROW, _FEW_SETS = 8, 10  # up to which the time of a PUB is not predicted


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
        self._loaded: tuple[Any, Sequence[Pub]] = (None, ())

    def __reduce__(self) -> tuple[type[Simulation], tuple[Any, ...]]:
        return type(self), (self.backend, *self.how)

    def run(self, request: JobRequest, pubs: Sequence[Pub], only: range | None = None) -> Simulated:
        """Simulate some PUBs of a job, seeded by the request's seed.

        Args:
            request: The job.
            pubs: The PUBs that the seed is for.
            only: Indices of those to simulate; None: all.

        Raises:
            EngineError: The simulator reports a failure.
        """
        from qexp.simulator import SimulationError

        options, seed = self.options_in_force(request), _seed(request)
        wanted = pubs if only is None else pubs[only.start : only.stop]
        try:
            if is_compiled(request.primitive):
                simulated = self._programs.run(request, pubs, only or range(len(pubs)), seed)
                return replace(simulated, backend_properties=self.properties)
            if request.primitive.kind == "sampler":
                shots = options["default_shots"]
                result = self._sampler.sample(pubs, shots=shots, seed=seed, only=only)
                circuits = [int(pub.parameter_values.size) for pub in wanted]
            else:
                precision = options["default_precision"]
                result = self._estimator.estimate(
                    self._with_precision(pubs), precision=precision, seed=seed, only=only
                )
                circuits = [self._estimator.count_circuits(pub) for pub in wanted]
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
            methods=tuple(one.method for one in self.predict(request, wanted)),
        )

    def predict(self, request: JobRequest, pubs: Sequence[Pub]) -> Iterator[Prediction]:
        """Predict methods and costs of some PUBs of a job, one after the other."""
        if is_compiled(request.primitive):
            yield from (self._programs.predict(request.primitive, pub) for pub in pubs)
            return
        options = self.options_in_force(request)
        if request.primitive.kind == "sampler":
            for pub in pubs:
                yield self._sampler.predict(pub, shots=options["default_shots"])
        else:
            for pub in self._with_precision(pubs):
                yield self._estimator.predict(pub, precision=options["default_precision"])

    def load_pubs(self, request: JobRequest) -> Sequence[Pub]:
        """Load the PUBs of a job; those of the newest are kept for its other chunks."""
        job = request.tag, request.partition, request.attempt
        if self._loaded[0] != job or not request.tag:
            self._loaded = job, request.load_pubs()
        return self._loaded[1]

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
            if self.exact and is_estimator:
                return "its values are made of samples; set engine.exact_expectation_values=false"
            return unseeded_folding(primitive) or self._programs.objection(primitive, pub)
        if self.exact and is_estimator and (why := self._estimator.exact_objection(pub)):
            return f"{why}; set engine.exact_expectation_values=false to sample them"
        if self.method is None:
            return None
        if is_estimator:
            why = self._estimator.objection(pub, exact=self.exact)
        else:
            why = self._sampler.objection(pub)
        return why and f"{why}; set engine.method=null to have another chosen"

    def forecast(self, primitive: PrimitiveSpec, pub: Pub) -> Forecast:
        """Predict the simulation of a PUB; what a simulator of the user's own takes counts as 0."""
        if is_compiled(primitive):
            seconds, size = self._programs.predict(primitive, pub).cost or (0.0, 0)
            return Forecast(seconds, seconds, size)
        busy = {qubit for item in pub.circuit.data for qubit in item.qubits}
        if len(busy) <= _NARROW and pub.parameter_values.size <= _FEW_SETS:
            return Forecast()  # milliseconds, less than it takes to predict them for many PUBs
        if not hasattr(pub, "observables"):
            predicted = self._sampler.predict(pub, shots=pub.shots)
        else:
            given = self._with_precision([pub])[0]
            predicted = self._estimator.predict(given, precision=given.precision)
        seconds, size = predicted.cost or (0.0, 0)
        stated = predicted.approximation
        return Forecast(seconds, seconds, size, (stated,) if stated else ())

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

        return Programs(self.backend, self._device, self.method)

    def _with_precision(self, pubs: Sequence[Pub]) -> Sequence[Any]:
        """Return Estimator PUBs, with precision 0 where values are exact."""
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


class ChunkedSimulation:
    """Simulates jobs in chunks of PUBs, here or in worker processes.

    Each chunk has a seed of its own, and the chunks depend on the job alone. So does the data,
    however many workers there are.

    Args:
        simulation: Simulates one chunk; it is copied to each worker.
        workers: Worker processes. Small jobs are simulated here, and so are all with a count of
            1, except what takes long or Aer runs, which would not let this process listen to
            signals.
    """

    def __init__(self, simulation: Simulation, workers: Workers) -> None:
        self._simulation = simulation
        self._workers = workers
        # By the id of the request, which is kept so that no other object gets its id.
        self._begun: dict[int, tuple[JobRequest, list[Future[Simulated]]]] = {}
        self._is_closed = False

    @cached_property
    def _shared(self) -> Shared | None:
        try:
            return Shared(self._simulation)
        except NotShareableError as error:
            # A backend of the user's own need not be picklable.
            _log.warning("jobs are simulated without worker processes: %s", error)
            return None

    def close(self) -> None:
        """Simulate nothing more; the worker processes end with the chunks they are simulating."""
        self._is_closed = True
        for _, futures in list(self._begun.values()):
            _cancel(futures)
        self._workers.retire()

    def prepare(self, request: JobRequest) -> None:
        """Let the worker processes begin with a job that is run soon, if it is large enough.

        Raises:
            EngineError: The batch was abandoned.
        """
        if self._is_closed:
            raise EngineError("the batch was abandoned; its jobs are not simulated any more")
        if id(request) in self._begun:
            return
        num_chunks = sum(len(_chunks(member)) for member in request.by_partition)
        if self._workers.count > 1 and num_chunks >= _WORTH_WORKERS:
            self._begin(request, CHUNK_PUBS)

    def _begin(self, request: JobRequest, most: int) -> None:
        """Let the workers simulate a job, at most so many PUBs at a time, if they can get it."""
        if self._shared is None:
            return
        with suppress(NotShareableError):
            futures = [
                self._workers.begin(_simulate, self._shared, member, chunk, only)
                for member in request.by_partition
                for chunk in _chunks(member)
                for only in _pieces(chunk.stop - chunk.first, most)
            ]
            self._begun[id(request)] = (request, futures)

    def _is_heavy(self, request: JobRequest) -> bool:
        """Return whether Aer runs a PUB of a job, or simulating all of them takes long."""
        takes_s = 0.0
        try:
            for member in request.by_partition:
                for one in self._simulation.predict(member, self._simulation.load_pubs(member)):
                    takes_s += one.cost.seconds if one.cost is not None else 0.0
                    if one.on_aer or takes_s > _WORTH_WORKERS_S:
                        return True
        except Exception:
            # It fails again where it is run, and is reported there.
            return False
        return False

    def run(self, request: JobRequest) -> Simulated:
        """Simulate one job.

        Raises:
            EngineError: The simulator reports a failure, or a worker process died.
            ArchiveError: The PUBs cannot be loaded.
        """
        self.prepare(request)
        if id(request) not in self._begun and self._is_heavy(request):
            self._begin(request, max(1, request.num_pubs // self._workers.count))
        if id(request) in self._begun:
            parts = self._gather(request)
        else:
            parts = [
                self._simulation.run(*_part(member, self._simulation.load_pubs(member), chunk))
                for member in request.by_partition
                for chunk in _chunks(member)
            ]
        from qexp.simulator import SIMULATOR_VERSION

        whole = joined(parts)
        used = {"simulator_version": SIMULATOR_VERSION, "simulator_methods": _runs(whole.methods)}
        return replace(
            whole,
            info={**whole.info, **used, **_approximations(whole.result)},
            options=self._simulation.options_in_force(request),
            # One object for all jobs, so that it is neither sent nor written many times.
            backend_properties=self._simulation.properties,
        )

    def _gather(self, request: JobRequest) -> list[Simulated]:
        _, futures = self._begun[id(request)]
        try:
            return [future.result() for future in futures]
        except CancelledError:
            raise EngineError("the batch was abandoned while this job was simulated") from None
        finally:
            del self._begun[id(request)]
            _cancel(futures)


def _approximations(result: PrimitiveResult[Any]) -> dict[str, Any]:
    """Return the errors that were approximated for a PUB of a job, for its `info`."""
    errors: dict[str, float] = {}
    for one in result:
        errors |= one.metadata.get("approximated_noise", {}).get("errors", {})
    return {"approximated_noise": errors} if errors else {}


def _runs(methods: Sequence[str]) -> list[list[Any]]:
    """Return the methods in the order of the PUBs: each with the number of PUBs in a row."""
    return [[method, len(list(row))] for method, row in groupby(methods)]


class _Chunk(NamedTuple):
    first: int
    stop: int
    seed: int


def _chunks(request: JobRequest) -> list[_Chunk]:
    import numpy as np

    sequence, count = np.random.SeedSequence(request.seed), request.partition.num_pubs
    if is_compiled(request.primitive):
        return [_Chunk(0, count, request.seed)]  # they share a calibration
    bounds = ((first, min(first + CHUNK_PUBS, count)) for first in range(0, count, CHUNK_PUBS))
    return [_Chunk(first, stop, as_int(child(sequence, first))) for first, stop in bounds]


def _pieces(count: int, most: int) -> list[range]:
    """Cut the PUBs of a chunk into ranges of at most `most`, which do not change the data."""
    return [range(first, min(first + most, count)) for first in range(0, count, most)]


def _simulate(simulation: Simulation, request: JobRequest, chunk: _Chunk, only: range) -> Simulated:
    """Simulate a part of a chunk, in a worker."""
    pubs = simulation.load_pubs(request)
    return replace(simulation.run(*_part(request, pubs, chunk), only), backend_properties=None)


def _part(
    request: JobRequest, pubs: Sequence[Pub], chunk: _Chunk
) -> tuple[JobRequest, Sequence[Pub]]:
    return replace(request, seed=chunk.seed), pubs[chunk.first : chunk.stop]


def _cancel(futures: Sequence[Future[Simulated]]) -> None:
    for future in futures:
        future.cancel()
