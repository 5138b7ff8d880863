"""Options of IBM's primitives that the embedded engine honours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qexp.core.mitigation import is_on
from qexp.core.model import PrimitiveSpec
from qexp.engines.options import declared_leaves

# Values of IBM's options that describe the simulator as it is. `...`: any value is honoured, or
# changes no data. The client's models (`qiskit_ibm_runtime.options_models`) and the legacy ones
# (`qiskit_ibm_runtime.options`), version 0.51, are in one table: common keys mean the same.
_SUPPORTED: dict[str, Any] = {
    "default_shots": ...,
    "default_precision": ...,
    "seed_estimator": ...,
    "simulator.seed_simulator": ...,
    "simulator.angle_decimals": 5,
    "simulator.layer_noise_model": [],
    "environment.job_tags": ...,
    "environment.log_level": ...,
    "environment.private": False,
    "execution.init_qubits": True,
    "execution.meas_type": "classified",
    "execution.scheduler_timing": False,
    "execution.stretch_values": False,
    "dynamical_decoupling.enable": False,
    "twirling.enable_gates": False,
    "twirling.enable_measure": False,
    "resilience_level": 0,
    "resilience.measure_mitigation": False,
    "resilience.zne_mitigation": False,
    "resilience.pec_mitigation": False,
}

# Options for which a client-side primitive compiles its circuits; see `programs`.
_COMPILED = ("dynamical_decoupling.", "twirling.", "resilience")

# Settings of a technique that do nothing, on IBM's side either, unless one of its switches is on.
_SWITCHES: dict[str, tuple[str, ...]] = {
    "dynamical_decoupling.": ("dynamical_decoupling.enable",),
    "twirling.": ("twirling.enable_gates", "twirling.enable_measure"),
    "resilience.measure_noise_learning.": ("resilience.measure_mitigation",),
    "resilience.zne.": ("resilience.zne_mitigation",),
    "resilience.pec.": ("resilience.pec_mitigation",),
    "resilience.layer_noise_learning.": ("resilience.zne_mitigation", "resilience.pec_mitigation"),
    "simulator.warn_absent": ("simulator.layer_noise_model", "resilience.layer_noise_model"),
}


def ignored_options(primitive: PrimitiveSpec) -> dict[str, Any]:
    """Return the declared options (dotted path -> value) that the embedded engine would ignore.

    Among them are those that tune what only IBM's default resilience level switches on.
    """
    honoured = _compiled(primitive)
    return {k: v for k, v in unsupported_options(primitive).items() if k not in honoured}


def is_compiled(primitive: PrimitiveSpec) -> bool:
    """Return True if the client compiles a primitive's circuits for the options that it has."""
    return bool(_compiled(primitive))


def _compiled(primitive: PrimitiveSpec) -> dict[str, Any]:
    """Return the declared options (dotted path -> value) for which the client compiles circuits."""
    if primitive.implementation != "client":
        return {}
    unsupported = unsupported_options(with_level(primitive))
    return {k: v for k, v in unsupported.items() if k.startswith(_COMPILED)}


def with_level(primitive: PrimitiveSpec) -> PrimitiveSpec:
    """Return an Estimator with the resilience level that it has here: 0, unless one is declared."""
    if primitive.kind == "sampler" or primitive.options.get("resilience_level") is not None:
        return primitive
    return replace(primitive, options={**primitive.options, "resilience_level": 0})


def unsupported_options(primitive: PrimitiveSpec) -> dict[str, Any]:
    """Return the declared options (dotted path -> value) that circuits as they are do not have.

    Left out are options that are None, that describe what the simulator does anyway, or that only
    tune a technique which is switched off.
    """
    declared = {path: value for path, value in declared_leaves(primitive.options) if value != {}}
    return {
        path: value
        for path, value in declared.items()
        if not _is_supported(path, value) and _has_effect(path, primitive)
    }


def _is_supported(path: str, value: Any) -> bool:
    return path in _SUPPORTED and _SUPPORTED[path] in (..., value)


def _has_effect(path: str, primitive: PrimitiveSpec) -> bool:
    for prefix, switches in _SWITCHES.items():
        if path.startswith(prefix) and path not in switches:
            return any(is_on(primitive, switch) for switch in switches)
    return True
