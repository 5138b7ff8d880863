"""What identifies the PUBs of an archive, read without decoding a circuit or a result."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qexp.archive.file import ArchiveFile, locate


@dataclass(frozen=True)
class PubIdentity:
    """One PUB by its digests. Equal `question` means that the same distribution was asked for.

    Attributes:
        kind: `"sampler"` or `"estimator"`.
        logical: Identity of the circuit as generated, see `qexp.archive.identity`.
        isa: Identity of the circuit as transpiled.
        parameters: Digest of names, shape and values of the parameters.
        observables: Observables as generated, as JSON; `""` for a sampler.
        shots: Shots, or None.
        precision: Target standard error, or None.
        result: Digest of its result, `""` without one.
    """

    kind: str
    logical: str
    isa: str
    parameters: str
    observables: str
    shots: int | None
    precision: float | None
    result: str

    @property
    def question(self) -> tuple[str, str, str, str]:
        """Kind, circuit as generated, parameters and observables."""
        return self.kind, self.logical, self.parameters, self.observables


def pub_identities(path: str | Path) -> dict[str, tuple[PubIdentity, ...]]:
    """The identities of all PUBs: workload -> by index.

    Args:
        path: The file `run.h5`, or the run's folder.

    Raises:
        ArchiveError: There is no such file, or it cannot be read.
    """
    file = ArchiveFile(locate(Path(path)))
    try:
        return {workload: _of_workload(file, workload) for workload in file.groups("pubs")}
    finally:
        file.close()


def _of_workload(file: ArchiveFile, workload: str) -> tuple[PubIdentity, ...]:
    table, circuits = f"pubs/{workload}", f"circuits/{workload}"
    count = file.count(f"{table}/pub")
    texts = zip(
        file.texts(f"{table}/kind"),
        file.texts(f"{circuits}/logical/sha256"),
        file.texts(f"{circuits}/isa/sha256"),
        _parameters(file, workload),
        file.texts(f"{table}/observables_json"),
        strict=True,
    )
    shots = file.column(f"{table}/shots").tolist()
    precision = file.column(f"{table}/precision").tolist()
    results = file.texts(f"{table}/result_sha256") or [""] * count
    with file.reading():
        return tuple(
            PubIdentity(
                *of_pub,
                shots=shots[k] if shots[k] >= 0 else None,
                precision=None if math.isnan(precision[k]) else precision[k],
                result=results[k],
            )
            for k, of_pub in enumerate(texts)
        )


def _parameters(file: ArchiveFile, workload: str) -> list[str]:
    """Digest of the parameters of each PUB."""
    table = f"pubs/{workload}"
    names = file.texts(f"{table}/parameter_names_json")
    shapes = file.texts(f"{table}/parameter_shape_json")
    digests = [
        hashlib.sha256(f"{name}\n{shape}\n".encode())
        for name, shape in zip(names, shapes, strict=True)
    ]
    for group in file.groups(f"parameters/{workload}"):
        path = f"parameters/{workload}/{group}"
        values = file.column(f"{path}/values")
        with file.reading():
            for pub, row in zip(file.column(f"{path}/pub").tolist(), values, strict=True):
                digests[pub].update(np.ascontiguousarray(row, "<f8").tobytes())
    return [digest.hexdigest() for digest in digests]
