"""Texts of strangers on a terminal: what an archive holds may steer it, or hide what it says."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""A text as one line without control, format or bidirectional characters.

    Args:
        text: Any text; lone surrogates and terminal escapes included.

    Returns:
        The text with line breaks and tabs as spaces, and every other character that cannot be
        seen as its Python escape, such as `\x1b`.
    """
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if character in "\n\r\t":
        return " "
    return character.encode("unicode_escape").decode("ascii")
