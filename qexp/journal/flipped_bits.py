"""The lines of a damaged journal that can be read, those with one flipped bit corrected."""

from __future__ import annotations

import json
from collections.abc import Iterator

from qexp.archive.atomic_files import matches_crc32

_LONGEST_TO_CORRECT = 4096
"""Bytes of a line; one with more is the plan, which can be rebuilt from its parts."""


def readable_lines(raw: bytes) -> tuple[list[bytes], int, int]:
    """Return the lines that can be read, and how many are lost, and were corrected.

    A last line without an end was never relied upon: it counts as neither.
    """
    pieces = raw.split(b"\n")
    lines: list[bytes] = []
    lost = corrected = number = 0
    while number < len(pieces):
        piece = pieces[number]
        number += 1
        if matches_crc32(piece):
            lines.append(piece)
        elif right := next(_corrections(piece), None):
            lines += right
            corrected += 1
        elif number < len(pieces) and (joined := next(_joined(piece, pieces[number]), None)):
            lines.append(joined)
            corrected += 1
            number += 1
        else:
            lost += number < len(pieces)
    return lines, lost, corrected


def _corrections(piece: bytes) -> Iterator[list[bytes]]:
    """Yield the line, or the two lines, of which a piece is the same with one flipped bit."""
    if len(piece) > _LONGEST_TO_CORRECT:
        return
    line = bytearray(piece)
    for position in range(len(line)):
        for bit in range(8):
            line[position] ^= 1 << bit
            parts = [part for part in bytes(line).split(b"\n") if part]
            if parts and all(_is_event(part) for part in parts):
                yield parts
            line[position] ^= 1 << bit


def _joined(piece: bytes, following: bytes) -> Iterator[bytes]:
    """Yield the line that two pieces are if one flipped bit made an end of a line in it."""
    for bit in range(8):
        line = piece + bytes([ord("\n") ^ (1 << bit)]) + following
        if _is_event(line):
            yield line


def _is_event(line: bytes) -> bool:
    if not matches_crc32(line):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
