from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import Meter, measure, members, memory_bytes

HOLD = "held = bytearray(b'x') * 50_000_000; print(flush=True); input()"

ORPHAN = """
import os, time
if os.fork() == 0:
    while time.process_time() < 0.2:
        pass
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def two_holders():
    """Two processes of one group that hold 50 MB each until their input ends."""
    group = 0
    processes = []
    for _ in range(2):
        process = subprocess.Popen(
            python(HOLD), stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=group
        )
        group = group or process.pid
        processes.append(process)
    for process in processes:
        process.stdout.readline()
    yield group
    for process in processes:
        process.communicate(b"\n")


def test_the_peak_is_at_least_what_the_command_allocates(tmp_path: Path):
    # A child begins with the peak of its parent, which is that of the tests before.
    parents = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = parents + 50_000_000
    assert measure(python(f"bytearray(b'x') * {size}"), tmp_path).peak_bytes > size


def test_the_peak_of_this_process_is_not_that_of_the_command(tmp_path: Path):
    held = bytearray(b"x") * 200_000_000
    assert measure(python("pass"), tmp_path).peak_bytes < len(held) / 2


def test_memory_is_summed_over_the_processes_of_a_group(two_holders: int):
    meter = Meter(two_holders)
    pids = members(two_holders)
    assert len(pids) == 2
    meter.look(pids)
    assert all(50_000_000 < memory_bytes([pid]) < 100_000_000 for pid in pids)
    assert meter.peak_bytes > 100_000_000
    # The interpreter itself may take or give back a few pages between two looks.
    assert meter.peak_bytes == pytest.approx(memory_bytes(pids), rel=1e-3)


def test_a_process_that_has_ended_has_no_memory():
    process = subprocess.Popen(python("pass"))
    process.wait()
    assert memory_bytes([process.pid]) == 0


def test_the_cpu_time_of_orphans_counts(tmp_path: Path):
    usage = measure(python(ORPHAN), tmp_path)
    assert usage.cpu_s >= 0.2


def test_the_command_runs_in_its_folder(tmp_path: Path):
    measure(python("open('told', 'w').write('yes')"), tmp_path)
    assert (tmp_path / "told").read_text() == "yes"


def test_pages_that_two_processes_share_count_once():
    code = (
        "import os, sys; held = bytearray(b'x') * 100_000_000; os.fork(); print(flush=True); "
        "sys.stdin.read()"
    )
    process = subprocess.Popen(
        python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    pids = members(process.pid)
    assert len(pids) == 2
    assert 100_000_000 < memory_bytes(pids) < 150_000_000
    process.communicate()


def test_no_other_child_is_waited_for(tmp_path: Path):
    other = subprocess.Popen(python("input()"), stdin=subprocess.PIPE)
    measure(python("pass"), tmp_path)
    assert other.poll() is None
    other.communicate(b"\n")
    assert other.returncode == 0


def test_a_command_that_fails_is_told_with_its_last_words(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"exited with 1, not 0: [^$]*no such key$"):
        measure(python("raise RuntimeError('no such key')"), tmp_path)


def test_an_expected_failure_is_measured(tmp_path: Path):
    assert measure(python("raise SystemExit(2)"), tmp_path, exit_code=2).wall_s > 0


def test_nothing_survives_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    groups: list[int] = []

    def interrupted(group: int, _options: int):
        groups.append(-group)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "wait4", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(python("import signal; signal.pause()"), tmp_path)
    assert members(groups[0]) == []
