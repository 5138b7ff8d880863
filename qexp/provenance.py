"""The provenance of a run besides its config: software, repository, backend."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexp.core.model import RunHeader
from qexp.core.seeds import describe_streams
from qexp.text import utc_now

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.core.spec import RunSpec

_GIT_TIMEOUT_S = 20


def run_header(spec: RunSpec, backend: BackendV2, run_id: str) -> RunHeader:
    """Return everything known about a run before its plan."""
    return RunHeader(
        run_id=run_id,
        experiment=spec.experiment,
        engine=spec.engine.name,
        created=utc_now("milliseconds"),
        config_yaml=spec.config_yaml,
        overrides=spec.overrides,
        sources=spec.sources,
        seed=spec.seed,
        seeds=describe_streams(spec.seed, [workload.name for workload in spec.workloads]),
        environment=describe_environment(Path.cwd()),
        backend=describe_backend(backend),
        limits={name: asdict(limit) for name, limit in spec.limits.items()},
        not_honoured={
            workload.name: spec.engine.ignored_options(workload.primitive)
            for workload in spec.workloads
        },
        metadata=spec.metadata,
    )


def describe_environment(folder: Path) -> dict[str, Any]:
    """Describe Python, the platform, every distribution, and the repository around `folder`.

    The fields are those of `RunHeader.environment`; the git ones are empty outside a repository
    or where git is not installed.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "distributions": list(_distributions()),
        **_describe_repository(folder),
    }


@cache
def _distributions() -> tuple[str, ...]:
    """Return what was installed when this process first asked, which it imports from."""
    metadata = (item.metadata for item in importlib.metadata.distributions())
    names = {f"{item['Name']}=={item['Version']}" for item in metadata if "Name" in item}
    return tuple(sorted(names, key=str.lower))


def _describe_repository(folder: Path) -> dict[str, Any]:
    commit = _git(folder, "rev-parse", "HEAD").strip()
    status = _git(folder, "status", "--porcelain") if commit else ""
    return {
        "git_commit": commit,
        "git_dirty": bool(status),
        "git_diff": _git(folder, "diff", "--no-color", "--no-ext-diff", "HEAD") if status else "",
    }


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def describe_backend(backend: BackendV2) -> dict[str, Any]:
    """Return name, size, calibration, configuration and target of a backend as plain data.

    `properties` and `configuration` are None where a backend has none (an ideal simulator).
    """
    return {
        "name": backend.name,
        "version": str(getattr(backend, "backend_version", "") or ""),
        "num_qubits": backend.num_qubits,
        "properties": _as_dict(backend, "properties"),
        "configuration": _as_dict(backend, "configuration"),
        "target": _describe_target(backend),
    }


def _as_dict(backend: BackendV2, name: str) -> dict[str, Any] | None:
    method = getattr(backend, name, None)
    value = method() if callable(method) else None
    to_dict = getattr(value, "to_dict", None)
    return to_dict() if callable(to_dict) else None


def _describe_target(backend: BackendV2) -> dict[str, Any]:
    target = backend.target
    instructions = [
        {
            "name": name,
            "qubits": list(qubits) if qubits is not None else None,
            "duration_s": getattr(properties, "duration", None),
            "error": getattr(properties, "error", None),
        }
        for name in sorted(target.operation_names)
        for qubits, properties in (target[name] or {}).items()
    ]
    return {"num_qubits": target.num_qubits, "dt_s": target.dt, "instructions": instructions}
