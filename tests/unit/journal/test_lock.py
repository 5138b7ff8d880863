from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qexp.errors import ArchiveError, RunLockedError
from qexp.journal.lock import lock_folder

HOLD = """
import sys
from pathlib import Path
from qexp.journal.lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_process_says_who_holds_it(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunLockedError) as caught, lock_folder(tmp_path):
            pass
        assert f"process {holder.pid} on {socket.gethostname()}" in str(caught.value)
        holder.kill()
    # The operating system has released it, whatever the killed process left.
    with lock_folder(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".holder.json").read_text()
    assert not (tmp_path / ".holder.json").exists()


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path):
    with lock_folder(tmp_path), pytest.raises(RunLockedError), lock_folder(tmp_path):
        pass


def test_a_folder_that_is_none_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="cannot be locked"), lock_folder(tmp_path / "file"):
        pass
