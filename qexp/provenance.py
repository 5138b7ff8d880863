"""The provenance of a run besides its config: software, repository, backend."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from qexp import __version__
from qexp.core.model import RunHeader
from qexp.core.seeds import describe_streams
from qexp.text import utc_now

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.core.spec import RunSpec

_GIT_TIMEOUT_S = 20.0
_DIFF_TIMEOUT_S = 5.0
_MOST_DIFF_BYTES = 1_000_000
_DIFF = ("diff", "--no-color", "--no-ext-diff", "--full-index", "HEAD")


def run_header(
    spec: RunSpec, run_id: str, backend: Mapping[str, Any], environment: Mapping[str, Any]
) -> RunHeader:
    """Return all that is known of a run before its plan; backend and environment as described."""
    return RunHeader(
        run_id=run_id,
        experiment=spec.experiment,
        engine=spec.engine.name,
        created=utc_now("milliseconds"),
        config_yaml=spec.config_yaml,
        overrides=spec.overrides,
        sources=spec.sources,
        seed=spec.seed,
        seeds=describe_streams(
            spec.seed, [workload.name for workload in spec.workloads], spec.simulation_seed
        ),
        environment=environment,
        backend=backend,
        limits={name: asdict(limit) for name, limit in spec.limits.items()},
        not_honoured={
            workload.name: {
                **workload.primitive.ignored,
                **spec.engine.ignored_options(workload.primitive),
            }
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
        "qexp_source": dict(_own_source()),
        **_describe_repository(folder),
    }


@cache
def _distributions() -> tuple[str, ...]:
    """Return what was installed when this process first asked, which it imports from."""
    metadata = (item.metadata for item in importlib.metadata.distributions())
    names = {f"{item['Name']}=={item['Version']}" for item in metadata if "Name" in item}
    return tuple(sorted(names, key=str.lower))


@cache
def _own_source() -> tuple[tuple[str, str], ...]:
    """Return where exactly the running qexp comes from, as far as its installation says.

    `version`; `commit` of its repository (with `+` for uncommitted changes), if it was installed
    from one or runs in a checkout; `wheel_sha256`, if it was installed from a file.
    """
    found = {"version": __version__}
    folder = Path(__file__).parent
    with suppress(importlib.metadata.PackageNotFoundError, ValueError):
        # https://packaging.python.org/en/latest/specifications/direct-url
        text = importlib.metadata.distribution("qexp").read_text("direct_url.json")
        origin = json.loads(text or "{}")
        found["commit"] = origin.get("vcs_info", {}).get("commit_id", "")
        found["wheel_sha256"] = origin.get("archive_info", {}).get("hashes", {}).get("sha256", "")
        if "dir_info" in origin and _git(folder, "ls-files", Path(__file__).name):
            is_changed = _git(folder, "status", "--porcelain", "--", str(folder))
            found["commit"] = _git(folder, "rev-parse", "HEAD").strip() + "+" * bool(is_changed)
    return tuple((name, value) for name, value in found.items() if value)


def _describe_repository(folder: Path) -> dict[str, Any]:
    commit = _git(folder, "rev-parse", "HEAD").strip()
    status = _git(folder, "status", "--porcelain") if commit else ""
    return {
        "git_commit": commit,
        "git_dirty": bool(status),
        "git_diff": _diff(folder) if status else "",
    }


def _diff(folder: Path) -> str:
    """Return the uncommitted changes, those of large files by their digests only if need be."""
    head, size, sha256 = _read_output(folder, *_DIFF)
    if sha256 and size <= _MOST_DIFF_BYTES:
        return head.decode("utf-8", "replace")
    whole = f"{size} bytes, SHA-256 {sha256}" if sha256 else f"more than {size} bytes"
    small = f"core.bigFileThreshold={_MOST_DIFF_BYTES // 10}"
    head, size, sha256 = _read_output(folder, "-c", small, *_DIFF)
    if size > len(head) or not sha256:
        # As long as each file's changes are whole, they can be applied.
        head = head[: head.rfind(b"\ndiff --git ") + 1]
    return f"[cut: the whole diff has {whole}]\n" + head.decode("utf-8", "replace")


def _read_output(
    folder: Path, *arguments: str, timeout_s: float = _DIFF_TIMEOUT_S
) -> tuple[bytes, int, str]:
    """Return the beginning of what git prints, its size in bytes, and its SHA-256.

    The digest is empty if git failed, or did not end in time.
    """
    head, size, digest = bytearray(), 0, hashlib.sha256()
    command = ["git", "-C", str(folder), *arguments]
    try:
        git = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return b"", 0, ""
    timer = Timer(timeout_s, git.kill)
    timer.start()
    with git:
        assert git.stdout is not None
        while piece := git.stdout.read(1 << 20):
            head += piece[: max(_MOST_DIFF_BYTES - size, 0)]
            size += len(piece)
            digest.update(piece)
    timer.cancel()
    return bytes(head), size, digest.hexdigest() if git.returncode == 0 else ""


def _git(folder: Path, *arguments: str) -> str:
    head, _, sha256 = _read_output(folder, *arguments, timeout_s=_GIT_TIMEOUT_S)
    return head.decode("utf-8", "replace") if sha256 else ""


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
