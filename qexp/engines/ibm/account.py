"""The IBM account of this machine, as far as it is known without a request."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from qexp.core.findings import Finding
from qexp.engines.ibm.client import client_reason
from qexp.redact import redact

_NAME = "IBM account"
_SAVE = (
    "save one with QiskitRuntimeService.save_account or set QISKIT_IBM_TOKEN, see README.md; "
    "simulators need none"
)


def check_account() -> Finding:
    """Return the accounts that IBM's client would find, with channel and instance; no token."""
    from qiskit_ibm_runtime import QiskitRuntimeService

    if os.environ.get("QISKIT_IBM_TOKEN"):
        from_environment = {
            "channel": os.environ.get("QISKIT_IBM_CHANNEL"),
            "instance": os.environ.get("QISKIT_IBM_INSTANCE"),
        }
        return Finding(_NAME, "ok", f"QISKIT_IBM_TOKEN ({_described(from_environment)})")
    try:
        saved = QiskitRuntimeService.saved_accounts()
    except Exception as error:  # The file can hold anything.
        reason = f"the file of saved accounts cannot be read: {client_reason(error)}"
        return Finding(_NAME, "problem", reason, "save the account again, with overwrite=True")
    if not saved:
        return Finding(_NAME, "warning", "none: only simulators can be used", _SAVE)
    accounts = (f"{name} ({_described(account)})" for name, account in sorted(saved.items()))
    return Finding(_NAME, "ok", redact(f"saved: {', '.join(accounts)}"))


def _described(account: Mapping[str, Any]) -> str:
    instance = str(account.get("instance") or "found by the client")
    if instance.startswith("crn:"):
        instance = "given by its CRN"
    channel = account.get("channel") or "default"
    return redact(f"channel {channel}, instance {instance}")
