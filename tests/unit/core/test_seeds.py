from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.core.seeds import as_int, child, describe_streams, stream, sweep_point_seed

SEEDS = st.integers(min_value=0, max_value=2**63 - 1)


def draws(sequence: np.random.SeedSequence) -> list[int]:
    return [int(word) for word in sequence.generate_state(4)]


@given(SEEDS)
def test_a_stream_is_decided_by_seed_workload_and_purpose(seed: int) -> None:
    assert draws(stream(seed, "main", "circuits")) == draws(stream(seed, "main", "circuits"))
    others = [
        stream(seed, "main", "transpile"),
        stream(seed, "main", "simulate"),
        stream(seed, "other", "circuits"),
        stream(seed + 1, "main", "circuits"),
    ]
    assert all(draws(other) != draws(stream(seed, "main", "circuits")) for other in others)


@given(SEEDS, st.integers(min_value=0, max_value=10**6))
def test_a_child_does_not_depend_on_the_ones_before_it(seed: int, index: int) -> None:
    parent = stream(seed, "main", "circuits")
    expected = draws(child(stream(seed, "main", "circuits"), index))
    child(parent, index + 1)
    parent.spawn(3)
    assert draws(child(parent, index)) == expected
    assert draws(child(parent, index + 1)) != expected


def test_children_are_numpys_own() -> None:
    spawned = stream(7, "main", "circuits").spawn(3)
    parent = stream(7, "main", "circuits")
    assert [draws(one) for one in spawned] == [draws(child(parent, k)) for k in range(3)]


@given(SEEDS)
def test_an_integer_seed_fits_31_bits_and_is_positive(seed: int) -> None:
    # Qiskit's local mode takes a seed of 0 for no seed at all.
    assert 0 < as_int(stream(seed, "main", "transpile")) < 2**31


@pytest.mark.parametrize("order", [["a=1", "b=2"], ["b=2", "a=1"]])
def test_the_seed_of_a_sweep_point_does_not_depend_on_the_order(order: list[str]) -> None:
    assert sweep_point_seed(3, order) == sweep_point_seed(3, ["a=1", "b=2"])
    assert sweep_point_seed(3, order) != sweep_point_seed(3, ["a=1", "b=3"])
    assert sweep_point_seed(3, order) != sweep_point_seed(4, order)


def test_a_seed_of_simulation_is_described_where_it_is_another() -> None:
    assert "simulation_seed" not in describe_streams(3, ["main"])
    described = describe_streams(3, ["main"], 9)
    assert (described["seed"], described["simulation_seed"]) == (3, 9)
    key = tuple(described["streams"]["main/simulate"])
    assert key == stream(9, "main", "simulate").spawn_key
