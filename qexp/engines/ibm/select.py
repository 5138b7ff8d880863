"""Selectors of backends of IBM's service: the least busy one, or one by name.

The account is one that IBM's client finds, saved or in environment variables. A config never holds
a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from qexp.engines.ibm.client import client_reason, reading, service_call
from qexp.engines.ibm.outages import missing_token
from qexp.engines.ibm.replies import is_status
from qexp.engines.options import flatten
from qexp.engines.private_api import (
    LONGEST_WAIT_S,
    connect,
    connected_clients,
    longest_wait_s,
    retired_backend,
)
from qexp.errors import ConfigError, EngineError, OutageError
from qexp.redact import redact

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

Channel = Literal["ibm_quantum_platform", "ibm_cloud"]
Name = Annotated[str, Field(min_length=1)]

_NO_ACCOUNT = (
    "no IBM account found: save one once with "
    'python -c "from qiskit_ibm_runtime import QiskitRuntimeService as Q; '
    "Q.save_account(token='<API key>', instance='<instance>', set_as_default=True)\" "
    "or set QISKIT_IBM_TOKEN; backend=local needs none"
)
_NO_BACKENDS = (
    "IBM's service lists no backend for this account: the instance has none; "
    "see https://quantum.cloud.ibm.com, set backend.instance, or use backend=local"
)


def least_busy(
    *,
    min_num_qubits: Annotated[int, Field(gt=0)] | None = None,
    operational: bool | None = True,
    simulator: bool | None = False,
    instance: Name | None = None,
    use_fractional_gates: bool | None = False,
    filters: dict[str, Any] | None = None,
    channel: Channel | None = None,
    account: Name | None = None,
    pinned: str | None = None,
    outage_s: float | None = None,
) -> BackendV2:
    """Select the backend with the shortest queue by `QiskitRuntimeService.least_busy`.

    Args:
        min_num_qubits: At least this many qubits.
        operational: Only backends that are (or are not) operational; None asks for either.
        simulator: Only simulators (or devices); None asks for either.
        instance: Instance name or CRN; None uses the account's.
        use_fractional_gates: Include `rx` and `rzz` of any angle, without dynamic circuits and
            twirling; None includes everything (see IBM's documentation).
        filters: Attributes of the backend or its configuration and the value each must have,
            such as `{processor_type.family: Heron}`.
        channel: IBM's channel; None uses the account's.
        account: Name of a saved account; None uses the default one.
        pinned: Supplied by qexp when a run is resumed: name of the backend that it began on.
        outage_s: Supplied by qexp: `execution.outage` in seconds, which limits every request.

    Returns:
        An `IBMBackend`; the pinned one where given, or an `IBMRetiredBackend` in its place once it
        is no longer available.

    Raises:
        ConfigError: No account, no backend that matches, or an unknown attribute in `filters`.
        OutageError: The service could not be reached or failed.
        EngineError: The service refused the account.
    """
    from qiskit.providers.exceptions import QiskitBackendNotFoundError

    service = _connect(outage_s, instance=instance, channel=channel, account=account)
    if pinned is not None:
        return _pinned(service, pinned, use_fractional_gates=use_fractional_gates)
    wanted = {"operational": operational, "simulator": simulator}
    criteria: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    attributes = _Attributes(filters or {})
    try:
        with reading("selecting the least busy backend"):
            # The instance is the service's already: least_busy takes only CRNs.
            backend: BackendV2 = service.least_busy(
                min_num_qubits=min_num_qubits,
                filters=attributes.match if attributes.wanted else None,
                use_fractional_gates=use_fractional_gates,
                **criteria,
            )
            return _loaded(backend)
    except QiskitBackendNotFoundError:
        attributes.refuse_unknown()
        asked = {
            "min_num_qubits": min_num_qubits,
            **criteria,
            **attributes.wanted,
            "use_fractional_gates": use_fractional_gates or None,
        }
        conditions = ", ".join(f"{k}={v}" for k, v in asked.items() if v is not None)
        raise ConfigError(
            f"backend: none that is online matches {conditions}; "
            f"available: {_available(service)}; relax a condition"
        ) from None


def named(
    *,
    name: Name,
    instance: Name | None = None,
    use_fractional_gates: bool | None = False,
    calibration_id: Name | None = None,
    channel: Channel | None = None,
    account: Name | None = None,
    pinned: str | None = None,
    outage_s: float | None = None,
) -> BackendV2:
    """Select a backend by name.

    Args:
        name: The backend's name, such as `ibm_torino`.
        instance: Instance name or CRN; None uses the account's.
        use_fractional_gates: See `least_busy`.
        calibration_id: Calibration to run with; None is the current one.
        channel: IBM's channel; None uses the account's.
        account: Name of a saved account; None uses the default one.
        pinned: See `least_busy`.
        outage_s: See `least_busy`.

    Returns:
        See `least_busy`.

    Raises:
        ConfigError: No account, or no such backend: the message lists those available.
        OutageError: The service could not be reached or failed.
        EngineError: The service refused the account.
    """
    from qiskit.providers.exceptions import QiskitBackendNotFoundError

    service = _connect(outage_s, instance=instance, channel=channel, account=account)
    how = {"use_fractional_gates": use_fractional_gates, "calibration_id": calibration_id}
    if pinned is not None:
        return _pinned(service, pinned, **how)
    try:
        return _by_name(service, name, **how)
    except QiskitBackendNotFoundError:
        raise ConfigError(
            f"backend.name={name!r} is not available to this account; "
            f"available: {_available(service, name)}"
        ) from None


def _by_name(service: Any, name: str, **how: Any) -> BackendV2:
    from qiskit_ibm_runtime.exceptions import IBMInputValueError

    with reading(f"selecting backend {name!r}"):
        try:
            backend = _loaded(service.backend(name, **how))
        except IBMInputValueError as error:
            raise ConfigError(f"backend.use_fractional_gates: {client_reason(error)}") from None
    return backend


def _loaded(backend: BackendV2) -> BackendV2:
    """Fetch a backend's properties now; the client would do so at their first use."""
    assert backend.target is not None
    return backend


def _pinned(service: Any, name: str, **how: Any) -> BackendV2:
    """Return the backend that a run began on, or a stand-in once it is gone."""
    from qiskit.providers.exceptions import QiskitBackendNotFoundError

    try:
        return _by_name(service, name, **how)
    except QiskitBackendNotFoundError:
        _available(service, name)
    return retired_backend(name, service)


def _connect(
    outage_s: float | None, *, instance: str | None, channel: str | None, account: str | None
) -> Any:
    from qiskit_ibm_runtime import QiskitRuntimeService
    from qiskit_ibm_runtime.accounts import AccountNotFoundError
    from qiskit_ibm_runtime.exceptions import IBMInputValueError

    doing = "connecting to IBM's service"
    longest_s = LONGEST_WAIT_S if outage_s is None else longest_wait_s(outage_s)
    with service_call(doing) as warned:
        try:
            service = connect(longest_s, channel=channel, name=account, instance=instance)
        except AccountNotFoundError:
            if not account:
                raise ConfigError(_NO_ACCOUNT) from None
            saved = ", ".join(sorted(QiskitRuntimeService.saved_accounts())) or "none"
            raise ConfigError(
                f"backend.account={account!r} is not a saved IBM account; saved: {saved}"
            ) from None
        except IBMInputValueError as error:
            where = f"backend.instance={redact(instance)!r}" if instance else "the IBM account"
            anew = "; if it was renamed, name it anew: backend.instance=NAME" if instance else ""
            raise ConfigError(f"{where}: {client_reason(error)}{anew}") from None
        # The client would go on without an access token.
        if (tokenless := missing_token(doing, warned)) is not None:
            raise tokenless
    return service


def _available(service: Any, missing: str | None = None) -> str:
    """Return the backends of the account, for a message about one that the client did not return.

    Raises:
        OutageError: The service failed where the client took a failure for "no such backend".
        EngineError: The service refused, or there are no backends.
    """
    with reading("listing the backends"):
        # The client drops the errors of these requests, so they are made again.
        listed = {
            device["name"]: client
            for client in connected_clients(service)
            for device in client.list_backends(True)
        }
        if missing and missing in listed and _is_there(listed[missing], missing):
            raise OutageError(f"backend {missing!r} is listed, but the client could not load it")
        configurations = [backend.configuration() for backend in service.backends()]
        if listed and not configurations:
            name, client = listed.popitem()
            client.backend_configuration(name)
            raise OutageError("backends are listed, but the client could not load them")
    if not configurations:
        raise EngineError(_NO_BACKENDS)
    return ", ".join(f"{each.backend_name} ({each.n_qubits} qubits)" for each in configurations)


def _is_there(client: Any, name: str) -> bool:
    try:
        client.backend_configuration(name)
    except Exception as error:
        if is_status(error, HTTPStatus.NOT_FOUND):
            return False
        raise
    return True


class _Attributes:
    """Filters by attribute; it notes the attributes that no backend has."""

    def __init__(self, filters: Mapping[str, Any]) -> None:
        self.wanted = dict(flatten(filters))
        self._unseen = set(self.wanted)
        self._available: set[str] = set()

    def match(self, backend: Any) -> bool:
        """Return whether every attribute of a backend has the value wanted."""
        configuration = backend.configuration()
        self._available.update(configuration.to_dict())
        values = {path: _attribute(backend, configuration, path) for path in self.wanted}
        self._unseen -= {path for path, value in values.items() if value is not _ABSENT}
        return values == self.wanted

    def refuse_unknown(self) -> None:
        """Raise `ConfigError` if there were backends and none has one of the attributes."""
        if self._available and self._unseen:
            raise ConfigError(
                f"backend.filters: no backend has the attribute {', '.join(sorted(self._unseen))}; "
                f"known: {', '.join(sorted(self._available))}"
            )


_ABSENT = object()


def _attribute(backend: Any, configuration: Any, path: str) -> Any:
    first, *rest = path.split(".")
    value = getattr(configuration, first, _ABSENT)
    if value is _ABSENT and first in dir(backend):
        # Asking an IBMBackend for an attribute that it lacks would cost a request.
        value = getattr(backend, first)
    for name in rest:
        get = value.get if isinstance(value, Mapping) else partial(getattr, value)
        value = get(name, _ABSENT)
    return value
