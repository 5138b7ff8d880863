"""The private parts of IBM's client that qexp uses, all in one place.

Tried with qiskit-ibm-runtime 0.51. Where another version lacks one of them, an `EngineError` names
both versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from itertools import chain
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from qexp.errors import EngineError
from qexp.text import one_line

if TYPE_CHECKING:
    import numpy as np
    from qiskit_ibm_runtime import Batch, IBMBackend

    from qexp.core.model import PrimitiveKind

TRIED_VERSION = "0.51"
_TRIED_SAMPLOMATIC = "0.21"

LONGEST_WAIT_S = 30.0
"""Time limit of a reply, and of the client's own repetitions; the client itself sets none."""

_SHORTEST_WAIT_S = 3.0
_WAITS_IN_OUTAGE = 4

REMAINING = "usage_remaining_seconds"
_LIMITS = ("usage_limit_seconds", "usage_allocation_seconds")

_EXECUTOR_SCHEMA = "v2.0"


def attach_session(backend: IBMBackend, batch_id: str) -> Batch:
    """Return an existing batch without a request: `Batch.from_id` makes three and may refuse."""
    from qiskit_ibm_runtime import Batch

    session = Batch(backend, create_new=False)
    _set(session, "_session_id", batch_id)
    return session


def batch_client(session: Batch) -> Any:
    """Return the `RuntimeClient` of a batch's instance."""
    return _get(session.service, "_get_api_client")(_get(session, "_instance"))


def other_clients(session: Batch) -> list[Any]:
    """Return the clients of the account's other instances."""
    own = batch_client(session)
    clients = _get(session.service, "_get_api_clients")().items()
    return [client for instance, client in clients if instance is not None and client is not own]


def connected_clients(service: Any) -> list[Any]:
    """Return the clients of all instances that a service is connected to."""
    return [client for client in _get(service, "_api_clients").values() if client is not None]


def move_to_instance(session: Batch, client: Any) -> None:
    """Move a batch to a client's instance, where its jobs are."""
    _set(session, "_instance", _get(client, "_instance"))


def set_status(handle: Any, entry: Mapping[str, Any]) -> None:
    """Give a `RuntimeJobV2` the state that was listed, which spares it a request."""
    _get(handle, "_set_status")(entry)


def retired_backend(name: str, service: Any) -> IBMBackend:
    """Return a stand-in for a backend that is gone, by which its jobs can be collected."""
    from qiskit_ibm_runtime.ibm_backend import IBMRetiredBackend

    retired = IBMRetiredBackend.from_name(name)
    _set(retired, "_service", service)
    _set(retired, "_instance", service.active_instance())
    return retired


def longest_wait_s(outage_s: float) -> float:
    """Return the time limit of one request where `execution.outage` is as long as this.

    It is at least 3 s, because a slow reply is no outage.
    """
    return max(_SHORTEST_WAIT_S, min(LONGEST_WAIT_S, outage_s / _WAITS_IN_OUTAGE))


def connect(longest_s: float, **account: Any) -> Any:
    """Return a `QiskitRuntimeService` whose requests wait no longer than they may.

    That holds for those of its constructor, too, but not for the search for the account's
    instances, which IBM's SDK makes with a limit of its own: a minute for each request.
    For `longest_s`, see `limit_waiting`.
    """
    from qiskit_ibm_runtime import QiskitRuntimeService

    class Service(QiskitRuntimeService):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "_active_api_client":
                # Every client becomes the active one before its first request.
                limit_waiting(value, longest_s)
            super().__setattr__(name, value)

        def usage(self) -> dict[str, Any]:
            # Asked before each job. The client's own fails over a limit that is null.
            return with_remaining(_get(self, "_active_api_client").cloud_usage())

    Service.__name__ = QiskitRuntimeService.__name__
    return Service(**account)


def with_remaining(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return an instance's usage without what is null, and with what remains of it."""
    known = {name: value for name, value in usage.items() if value is not None}
    limits = [known[name] for name in _LIMITS if name in known]
    if limits:
        known[REMAINING] = max(min(limits) - known.get("usage_consumed_seconds", 0), 0)
    return known


def usage_of(backend: IBMBackend) -> dict[str, Any]:
    """Return the usage of a backend's instance, by one request; see `with_remaining`."""
    client = _get(backend.service, "_get_api_client")(instance_of(backend))
    return with_remaining(client.cloud_usage())


def limit_waiting(api_client: Any, longest_s: float = LONGEST_WAIT_S) -> None:
    """Limit the time of a `RuntimeClient`'s requests: a reply may be lost while a laptop sleeps.

    A client that has a limit keeps it, unless the new one is lower. It also sends each POST once,
    and gets another access token after the service has refused one. A question that failed is
    repeated by the client itself for `longest_s`; then it is for qexp to ask again. Only the reply
    to a job that is submitted may take as long as the client says, 15 minutes.
    """
    from qexp.engines.limited_requests import limit_requests

    limit_requests(_get(api_client, "_session"), longest_s)


def reply_hooks(api_client: Any) -> list[Any]:
    """Return the functions that a client's `requests` session calls with each reply."""
    return _get(api_client, "_session").hooks["response"]


def instance_of(backend: IBMBackend) -> str:
    """Return the CRN of a backend's instance."""
    return _get(backend, "_instance")


def encode_program(program: Any, options: Any, kind: PrimitiveKind) -> dict[str, Any]:
    """Return a prepared program as the client's executor sends it, JSON-able."""
    from qiskit_ibm_runtime.quantum_program.params_converters import (
        QUANTUM_PROGRAM_PARAMS_CONVERTERS,
    )

    # The executor needs the kind of post-processing.
    _set(program, "_semantic_role", f"{kind}_v2")
    encoded = QUANTUM_PROGRAM_PARAMS_CONVERTERS[_EXECUTOR_SCHEMA].encoder(program, options)
    return encoded.model_dump(mode="json")


def client_objection(kind: PrimitiveKind, pub: Any, options: Any, backend: Any) -> str | None:
    """Return why a client-side primitive cannot run a PUB with these options, or None.

    Circuits with what the client may not know how to twirl are compiled to find out.
    """
    from qiskit.exceptions import QiskitError
    from samplomatic.constants import SUPPORTED_2Q_FRACTIONAL_GATES
    from samplomatic.exceptions import BuildError

    from qexp.engines.options import client_module, finalised

    module, circuit = client_module(kind, "prepare"), pub.circuit
    is_fractional = not SUPPORTED_2Q_FRACTIONAL_GATES.isdisjoint(circuit.count_ops())
    try:
        _get(module, "_validate")([pub], finalised(kind, options), backend)
        if is_fractional or circuit.has_control_flow_op():
            module.prepare([pub], options, backend=backend)
    except (QiskitError, BuildError, ValueError) as error:
        return one_line(getattr(error, "message", str(error)))
    return None


def draw_item(item: Any, generator: np.random.Generator) -> dict[str, Any]:
    """Return what the samplex of a program's item draws: arrays of its shape, by name."""
    from qiskit_ibm_runtime.fake_provider.executor.broadcast_sample import broadcast_sample

    samplex: Any = SimpleNamespace(sample=partial(_sample, item.samplex))
    return broadcast_sample(samplex, item.samplex_arguments, item.shape, generator)


def _sample(samplex: Any, arguments: Any, num_randomizations: int, rng: Any) -> Any:
    """Return what `Samplex.sample` draws, in 0.6 of its time: it passes each node to a thread."""
    import numpy as np
    import samplomatic

    if not samplomatic.__version__.startswith(f"{_TRIED_SAMPLOMATIC}."):
        return samplex.sample(arguments, num_randomizations, rng, max_workers=1)
    outputs, registers = samplex.outputs(), dict[str, Any]()
    sizes = {"num_randomizations": num_randomizations}
    for spec in outputs.specs:
        outputs[spec.name] = np.zeros([sizes.get(size, size) for size in spec.shape], spec.dtype)
    values = samplex.param_table.evaluate(arguments.get("parameter_values", []))
    passed, expressions = samplex.passthrough_params
    if len(passed):
        outputs["parameter_values"][:, passed] = values[expressions]
    nodes = samplex._sampling_nodes
    for node, stream in zip(nodes, rng.spawn(len(nodes)), strict=True):
        node.sample(registers, stream, arguments, num_randomizations)
    for node in chain.from_iterable(samplex._evaluation_streams):
        node.evaluate(registers, values[node.parameter_idxs])
    nodes = samplex._collection_nodes
    for node, stream in zip(nodes, rng.spawn(len(nodes)), strict=True):
        node.collect(registers, outputs, stream)
    return outputs


def program_decoder() -> Any:
    """Return the decoder of a program's result, before anything is made of it."""
    from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder

    return ExecutorResultDecoder


def evaluate_program(result: Any, kind: PrimitiveKind) -> Any:
    """Return what the client makes of a program's result; it changes the arrays of a Sampler's."""
    from qiskit_ibm_runtime.decoders.defaults import DEFAULT_DECODERS

    _set(result, "_semantic_role", f"{kind}_v2")
    for decoder in DEFAULT_DECODERS["executor"]:
        if decoder is not program_decoder() and decoder.is_applicable(result):
            return decoder.decode(result)
    return result


def _get(owner: Any, name: str) -> Any:
    """Return a private attribute; raise `EngineError` if this version of the client lacks it."""
    try:
        return getattr(owner, name)
    except AttributeError:
        installed = version("qiskit-ibm-runtime")
        raise EngineError(
            f"qiskit-ibm-runtime {installed} has no {type(owner).__name__}.{name}, which qexp uses "
            f"and {TRIED_VERSION} has; install 'qiskit-ibm-runtime=={TRIED_VERSION}.*'"
        ) from None


def _set(owner: Any, name: str, value: Any) -> None:
    _get(owner, name)
    setattr(owner, name, value)
