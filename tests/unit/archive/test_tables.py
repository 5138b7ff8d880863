"""How columns are laid out in chunks, and texts that HDF5 cannot hold."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
from hypothesis import given
from hypothesis import strategies as st

import qexp
from qexp.archive.netcdf import MAX_CHUNK_BYTES, OWN_CHUNK_BYTES, chunk_shape
from qexp.archive.tables import clean_text
from qexp.archive.writer import RunStore
from tests.archives import header

SHAPES = st.lists(st.integers(1, 300_000), min_size=1, max_size=3)


@given(SHAPES, st.sampled_from([1, 4, 8]), st.integers(1, 300_000))
def test_chunks_fit_and_do_not_depend_on_the_number_of_large_rows(
    shape: list[int], itemsize: int, other_count: int
) -> None:
    chunk = chunk_shape(shape, itemsize)
    assert len(chunk) == len(shape)
    assert all(1 <= part <= whole for part, whole in zip(chunk, shape, strict=True))
    assert math.prod(chunk) * itemsize <= MAX_CHUNK_BYTES
    if math.prod(shape[1:]) * itemsize >= OWN_CHUNK_BYTES:
        assert chunk[0] == 1
        assert chunk_shape([other_count, *shape[1:]], itemsize) == chunk


@given(st.text())
def test_clean_text_is_storable_and_leaves_ordinary_text_alone(text: str) -> None:
    cleaned = clean_text(text + "\ud800")
    assert "\x00" not in cleaned
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    if "\x00" not in text:
        assert clean_text(text) == text


def test_long_and_odd_texts_are_kept(tmp_path: Path) -> None:
    diff = "+ größe 🙂\n" * 20_000
    store = RunStore(tmp_path)
    store.write_header(
        header(environment={"git_diff": diff + "\x00"}, metadata={"description": "d" * 100_000})
    )
    with qexp.open_archive(store.seal("planned", keep_parts=False)) as run:
        assert run.environment["git_diff"] == diff + "\\x00"
        assert len(run.metadata["description"]) == 100_000
        with h5py.File(run.path) as file:
            assert len(file.attrs["description"]) < 64_000
