"""Imports for the server of the worker processes alone, see `qexp.fork_server`."""

from __future__ import annotations

from qexp.engines.lazy_client import defer_client

defer_client()

# The default backend comes from it, and every worker would import it by itself.
import qiskit_ibm_runtime.fake_provider  # noqa: E402

# The plugins of IBM's backends for Qiskit's transpiler.
import qiskit_ibm_runtime.transpiler.plugin  # noqa: E402, F401
