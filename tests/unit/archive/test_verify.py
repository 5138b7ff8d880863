"""All damage to an archive is noticed and reported in lines of text."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qexp
from qexp.archive.digests import file_digest, is_as_sealed, is_intact
from qexp.archive.verify import require_intact, verify
from qexp.errors import ArchiveError
from tests.archives import sampler_jobs, sampler_result, write_run
from tests.damage import Damage, cuts, flip, flips, survey

INTACT = "its results are intact"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small columns, chunks of their own, a failed job and a journal."""
    rng = np.random.default_rng(0)
    large = [sampler_result(rng, {"c": 8}, 5000) for _ in range(2)]
    folder = tmp_path_factory.mktemp("run")
    store = write_run(folder, [*sampler_jobs([1]), large, None])
    (folder / "journal.jsonl").write_text('{"event":"started"}\n' * 9)
    return store.seal("partial", keep_parts=False)


def quickly(path: Path) -> list[str]:
    """As `verify`, without looking for damaged results where the file is known to be damaged.

    That takes a process of its own each time.
    """
    try:
        found = is_as_sealed(path)
    except ArchiveError as error:
        return [str(error)]
    return ["damaged"] if found is False else verify(path)


def regions(path: Path) -> dict[str, tuple[int, int]]:
    """Name -> first byte and size."""
    with h5py.File(path) as file:
        group = file["results/main/c-8b-5000"]
        chunk = group["c"].id.get_chunk_info(1)
        found = {
            "superblock": (0, 96),
            "root header": (96, 64),
            "digest": (file["file_sha256"].id.get_offset(), 64),
            "chunk": (chunk.byte_offset, chunk.size),
        }
        for name in ("jobs/attempt", "pubs/main/result_row", "pubs/main/pub", "jobs/usage_s"):
            dataset = file[name]
            found[name] = (dataset.id.get_offset(), dataset.id.get_storage_size())
    raw = path.read_bytes()
    for signature in (b"OHDR", b"OCHK", b"GCOL", b"FRHP", b"FHDB", b"BTHD", b"BTLF"):
        found[signature.decode()] = (raw.index(signature), 48)
    found["texts"] = (raw.index(b'{"event"'), 20)
    return found


def test_an_intact_archive_has_no_problems(sealed: Path) -> None:
    assert verify(sealed) == verify(str(sealed.parent)) == []
    with qexp.open_archive(sealed) as run:
        assert run.verify() == []


def assert_noticed(found: list[str]) -> None:
    assert found
    assert all(line and "\n" not in line for line in found)


def test_every_flipped_bit_is_noticed(sealed: Path) -> None:
    for found in survey(sealed, flips(sealed, 400), quickly):
        assert_noticed(found)


def test_every_flipped_bit_of_each_region_is_noticed(sealed: Path) -> None:
    def every(first: int, size: int) -> list[Damage]:
        return [flip(first + k, (3 * k) % 8) for k in range(0, size, max(1, size // 24))]

    for name, (first, size) in regions(sealed).items():
        for found in survey(sealed, every(first, size), quickly):
            assert found, name
            assert_noticed(found)


def test_every_bit_of_the_superblock_and_of_the_digest_is_noticed(sealed: Path) -> None:
    where = regions(sealed)
    for name, bits in (("superblock", range(0, 8, 2)), ("digest", range(0, 8, 3))):
        first, size = where[name]
        damages = (flip(first + k, bit) for k in range(size) for bit in bits)
        for found in survey(sealed, damages, quickly):
            assert_noticed(found)


def test_every_truncated_file_is_noticed(sealed: Path) -> None:
    for found in survey(sealed, cuts(sealed, 40), quickly):
        assert_noticed(found)
    longer = survey(sealed, [lambda raw: raw + b"\0"], quickly)
    assert_noticed(next(longer))


def test_the_damaged_pub_is_named_and_no_other(sealed: Path) -> None:
    first, size = regions(sealed)["chunk"]
    ((whole, problem),) = survey(sealed, [flip(first + size // 2, 4)], verify)
    assert "is not what was sealed" in whole
    assert "PUB 2 of 'main'" in problem
    assert "damaged" in problem


def test_intact_results_of_a_damaged_file_are_reported_as_intact(sealed: Path) -> None:
    ((line,),) = survey(sealed, [flip(regions(sealed)["jobs/usage_s"][0], 0)], verify)
    assert line.endswith(INTACT)


def test_results_that_were_replaced_with_their_digests_are_noticed(
    sealed: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.h5"
    path.write_bytes(sealed.read_bytes())
    with h5py.File(path, "r+") as file:
        file["pubs/main/result_sha256"][0] = "0" * 64
        file["pubs/main/pub"][1] = 7
    found = verify(path)
    assert any("PUB 0 of 'main'" in line and "its digest" in line for line in found)
    assert any("PUB 7 of 'main'" in line and "in row 1" in line for line in found)
    assert any("data digest" in line for line in found)


def answering(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let another program than the real one read the damaged file."""
    start = subprocess.Popen

    def other(command: list[str], **options: object) -> object:
        program = f"import os, sys; sys.stdin.readline(); {code}"
        return start([sys.executable, "-S", "-c", program], **options)  # type: ignore[call-overload]

    monkeypatch.setattr("subprocess.Popen", other)


def test_a_file_whose_reading_never_ends_is_reported(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = '["value", ["result", "PUB 0 is damaged"]]'
    answering(monkeypatch, f"print('{reply}', flush=True); sys.stdin.readline()")
    monkeypatch.setattr("qexp.archive.verify._TIMEOUT_S", 0.5)
    (found,) = survey(sealed, [flip(regions(sealed)["digest"][0], 0)], verify)
    assert len(found) == 3
    assert found[1] == "PUB 0 is damaged"
    assert "not everything in it could be checked" in found[2]
    assert "reading it took more than" in found[2]


def test_a_process_killed_by_a_file_is_reported(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, "os.abort()")
    (found,) = survey(sealed, [flip(regions(sealed)["digest"][0], 0)], verify)
    assert "reading it ended the process" in found[1]


@given(st.binary(min_size=64, max_size=300), st.integers(0, 236), st.integers(1, 400))
def test_the_digest_does_not_depend_on_where_the_file_is_cut_nor_on_its_own_digits(
    raw: bytes, start: int, size: int
) -> None:
    start = min(start, len(raw) - 64)
    blocks = [raw[k : k + size] for k in range(0, len(raw), size)]
    zeroed = raw[:start] + b"0" * 64 + raw[start + 64 :]
    assert file_digest(blocks, start).decode() == hashlib.sha256(zeroed).hexdigest()


def test_a_file_that_is_no_archive_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    for name in ("text.h5", "absent.h5", "."):
        (line,) = verify(tmp_path / name)
        assert "\n" not in line


def test_the_documented_six_lines_verify_the_file(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[3] / "docs" / "archive-format.md").read_text("utf-8")
    snippet = text.partition("## Digests")[2].partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(sealed.parent)
    exec(compile(snippet, "archive-format.md", "exec"), {})
    assert capsys.readouterr().out == "True\n"


def test_a_file_without_the_digest_its_schema_requires_is_damaged(
    sealed: Path, tmp_path: Path
) -> None:
    assert is_intact(sealed) is True
    assert require_intact(sealed.parent) == sealed
    path = tmp_path / "run.h5"
    path.write_bytes(sealed.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["file_sha256"]
    assert is_intact(path) is False
    with pytest.raises(ArchiveError, match="is not what was sealed: restore it"):
        require_intact(path)
    (line,) = verify(path)
    assert "does not state its SHA-256" in line
    # The first schema had none.
    with h5py.File(path, "r+") as file:
        file.attrs["qexp_schema"] = "1.0"
    assert is_intact(path) is None
    assert require_intact(path) == path
