"""A folder with a run of every kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py

from qexp.archive.writer import RunStore
from qexp.journal.events import BatchOpened, Collected, Planned, Started, Submitted, Submitting
from qexp.journal.file import Journal
from tests.archives import (
    header,
    sampler_jobs,
    sampler_pub,
    write_partition,
    write_run,
)
from tests.damage import flip

KINDS = {
    "r0-complete": "complete",
    "r1-partial": "partial",
    "r2-failed": "failed",
    "r3-planned": "planned",
    "r4-unfinished": "unfinished",
    "r5-started": "unfinished",
    "r6-flipped": "damaged",
    "r7-cut": "damaged",
    "r8-empty": "damaged",
    "r9-text": "damaged",
}
"""Name of the folder -> the status with which it is listed."""

DEPTH_5 = "name: e\ncircuits: {depth: 5, num_qubits: [2, 3]}\nbackend: {name: FakeLima}\n"


def make_runs(root: Path) -> None:
    """One run of each kind below `root/e`."""
    folders = {name: root / "e" / name for name in KINDS}
    jobs = sampler_jobs([2, 1])
    write_run(folders["r0-complete"], jobs).seal("complete", keep_parts=False)
    write_run(folders["r1-partial"], [*jobs, None]).seal("partial", keep_parts=True)
    write_run(folders["r2-failed"], [None]).seal("failed", keep_parts=True)
    store = RunStore(folders["r3-planned"])
    store.write_header(header(run_id="planned", created="2026-02-01", config_yaml=DEPTH_5))
    write_partition(store, 0, 0, [sampler_pub()])
    store.seal("planned", keep_parts=True)
    _unfinished(folders["r4-unfinished"])
    folders["r5-started"].mkdir()
    with Journal(folders["r5-started"]) as journal:
        journal.append(Started("host", 1, "0.1"))
    sound = (folders["r0-complete"] / "run.h5").read_bytes()
    with h5py.File(folders["r0-complete"] / "run.h5") as file:
        digest = file["file_sha256"].id.get_offset()
    damaged = {
        "r6-flipped": bytes(flip(digest, 0)(bytearray(sound))),
        "r7-cut": sound[: len(sound) // 3],
        "r8-empty": b"",
        "r9-text": b"this is no HDF5\n",
    }
    for name, raw in damaged.items():
        folders[name].mkdir()
        (folders[name] / "run.h5").write_bytes(raw)


def _unfinished(folder: Path) -> None:
    store = write_run(folder, sampler_jobs([1, 1]))
    with Journal(folder) as journal:
        for event in (
            Started("host", 1, "0.1"),
            Planned(("0" * 64, "1" * 64)),
            BatchOpened("b1", "t0k3n"),
            Submitting(0, 1, "b1", "tag-0"),
            Submitted(0, 1, "b1", "job-0"),
            Collected(0, 1, "job-0", "DONE"),
            Submitting(1, 1, "b1", "tag-1"),
            Submitted(1, 1, "b1", "job-1"),
        ):
            journal.append(event)
    store.path("job", 1, 1).unlink()


def copies(root: Path, target: Path) -> Path:
    """The same runs in another folder."""
    shutil.copytree(root, target)
    return target
