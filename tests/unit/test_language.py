"""The form of docstrings and error messages: a verb or a noun first, and one style of errors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "qexp"

NO_FIRST_WORDS = frozenset(
    [
        "As",
        "Because",
        "By",
        "Does",
        "Given",
        "Has",
        "How",
        "If",
        "Is",
        "Made",
        "Of",
        "Said",
        "Shown",
        "So",
        "Than",
        "That",
        "Told",
        "What",
        "Whatever",
        "When",
        "Where",
        "Whether",
        "Which",
        "Who",
        "Whose",
        "Why",
    ]
)
NAMES = frozenset({"Aer", "Hydra", "Qiskit"})
"""First words of a message that are names; those with two capitals (PUB, OpenQASM) are, too."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module by its dotted name below `qexp`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text(encoding="utf-8"))


MODULES = dict(modules())


def error_classes() -> frozenset[str]:
    """Names of `QexpError` and of the classes that derive from it."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for module in MODULES.values()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
    }
    found = {"QexpError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return frozenset(found)


ERRORS = error_classes()


def docstring_problems(module: ast.Module) -> Iterator[str]:
    """The docstrings of constants are looked at as well."""
    for node in ast.walk(module):
        if isinstance(node, ast.Expr) and isinstance(text := node.value, ast.Constant):
            word = str(text.value).split(maxsplit=1)[0].strip(",.:;")
            if word in NO_FIRST_WORDS:
                yield f"line {node.lineno}: a docstring begins with '{word}'"


def message_problems(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Raise) and isinstance(call := node.exc, ast.Call):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name in ERRORS and call.args:
                yield from (
                    f"line {node.lineno}: the message {problem}"
                    for problem in problems(call.args[0])
                )


def problems(message: ast.expr) -> Iterator[str]:
    if isinstance(message, ast.Name) and message.id in ("msg", "message"):
        yield "is in a variable that is used once"
    pieces = message.values if isinstance(message, ast.JoinedStr) else [message]
    texts = [
        piece.value if isinstance(piece, ast.Constant) and isinstance(piece.value, str) else None
        for piece in pieces
    ]
    first, last = texts[0], texts[-1]
    if first is not None:
        word = first.split(maxsplit=1)[0]
        capitals = sum(character.isupper() for character in word)
        if word[0].isupper() and capitals < 2 and word.removesuffix("'s") not in NAMES:
            yield f"begins with '{word}'"
    if last is not None and last.endswith(".") and not last.endswith("..."):
        yield "ends with a full stop"
    if any("\n" in text for text in texts if text is not None):
        yield "has a line break"


def found_in(name: str) -> list[str]:
    return [*docstring_problems(MODULES[name]), *message_problems(MODULES[name])]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_and_messages_are_in_one_form(name: str) -> None:
    assert found_in(name) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise ConfigError('key: got 3; set it')", []),
        ("raise ConfigError(f'{key}: got 3')", []),
        ("raise ConfigError('OpenQASM 4 is not supported')", []),
        ('raise ConfigError("Qiskit\'s version")', []),
        ("raise ConfigError('set it (key=...)')", []),
        ("raise ValueError('The key.')", []),
        ("raise ConfigError('The key')", ["line 1: the message begins with 'The'"]),
        ("raise ConfigError(f'{key} is bad.')", ["line 1: the message ends with a full stop"]),
        ("raise ConfigError(msg)", ["line 1: the message is in a variable that is used once"]),
        ("raise ConfigError('a\\nb')", ["line 1: the message has a line break"]),
        ("def f(): 'What it is.'", ["line 1: a docstring begins with 'What'"]),
        ("def f(): 'Return it.'", []),
    ],
)
def test_the_rules(code: str, expected: list[str]) -> None:
    module = ast.parse(code)
    assert [*docstring_problems(module), *message_problems(module)] == expected
