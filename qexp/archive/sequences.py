"""Sequences whose items are read from an archive when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar, overload

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class LazySequence(Sequence[T_co], Generic[T_co]):
    """A sequence whose items are read when they are asked for. Slices are lists.

    Args:
        length: Number of items.
        read: Reads one item by its index, `0 <= index < length`.
        name: For `repr`.
    """

    def __init__(self, length: int, read: Callable[[int], T_co], name: str) -> None:
        self._length = length
        self._read = read
        self._name = name

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T_co: ...

    @overload
    def __getitem__(self, index: slice) -> list[T_co]: ...

    def __getitem__(self, index: int | slice) -> T_co | list[T_co]:
        if isinstance(index, slice):
            return [self._read(k) for k in range(self._length)[index]]
        if not -self._length <= index < self._length:
            raise IndexError(f"{self._name} has {self._length} items, there is no item {index}")
        return self._read(index % self._length)

    def __iter__(self) -> Iterator[T_co]:
        return (self._read(k) for k in range(self._length))

    def __repr__(self) -> str:
        return f"<{self._name}: {self._length} items>"


class Results(LazySequence[T_co], Generic[T_co]):
    """The results of one workload, by PUB index. A PUB without result raises `ArchiveError`.

    Attributes:
        available: Indices of the PUBs that have a result; all of them in a complete run.
    """

    def __init__(
        self, available: Sequence[int], length: int, read: Callable[[int], T_co], name: str
    ) -> None:
        super().__init__(length, read, name)
        self.available = tuple(available)


class ByWorkload(dict[str, T], Generic[T]):
    """What there is of each workload, by its name."""

    def __missing__(self, workload: str) -> T:
        raise KeyError(f"there is no workload {workload!r}; the workloads are: {', '.join(self)}")
