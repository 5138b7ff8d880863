"""`python -m qexp completion SHELL`: tab completion of the script `qexp`.

The shell's script calls this verb with the words up to the cursor, and it answers with what may
stand in the place of the last one. Groups, choices, keys and values come from Hydra.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from qexp.cli.output import print_line
from qexp.cli.verbs import VERBS, verb_parser
from qexp.config.paths import config_choices
from qexp.text import typed_path

_SCRIPTS = {
    "bash": """\
_qexp() {
    local line=${COMP_LINE:0:COMP_POINT} words candidate
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    # bash has cut the word at '=' and ':', and wants the rest of it only.
    local word=${words[${#words[@]} - 1]}
    local cut=${word%"$2"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        COMPREPLY+=("${candidate#"$cut"}")
    done < <("${words[0]}" completion bash -- "${words[@]:1}" 2> /dev/null)
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
}
complete -F _qexp qexp""",
    "zsh": """\
_qexp() {
    local -a found
    found=("${(@f)$("${words[1]}" completion zsh -- "${(@)words[2,CURRENT-1]}" "$PREFIX" \\
        2> /dev/null)}")
    local -a open=("${(@M)found:#*[=./]}") closed=("${(@)found:#*[=./]}")
    (( $#open )) && compadd -S '' -- "${open[@]}"
    (( $#closed )) && compadd -- "${closed[@]}"
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _qexp qexp""",
    "fish": """\
function __qexp
    set -l words (commandline -opc)
    $words[1] completion fish -- $words[2..] (commandline -ct) 2> /dev/null
end
complete -c qexp -f -a '(__qexp)'""",
}

_EPILOG = """
Add one line to the file that your shell reads at its start:

  ~/.bashrc                   eval "$(qexp completion bash)"
  ~/.zshrc                    eval "$(qexp completion zsh)"
  ~/.config/fish/config.fish  qexp completion fish | source

Then Tab completes verbs, their arguments, run folders, groups, choices, keys and values. It works
for the command 'qexp'; 'python -m qexp' is a command of python, which shells complete in their way.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.add_argument("shell", metavar="SHELL", choices=_SCRIPTS, help=", ".join(_SCRIPTS))
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)


def run(given: argparse.Namespace) -> int:
    """Print the script, or the candidates for the last of some words."""
    lines = candidates(given.words) if given.words else _SCRIPTS[given.shell].splitlines()
    for line in lines:
        print_line(line)
    return 0


def candidates(words: Sequence[str]) -> list[str]:
    """List what may stand in the place of the last of the words up to the cursor."""
    *before, word = words
    if before and before[0] in VERBS:
        found = _for_verb(before[0], before[1:], word)
    else:
        found = [*_for_job(before, word), *(() if before else VERBS)]
    return sorted({candidate for candidate in found if candidate.startswith(word)})


def _for_job(before: Sequence[str], word: str) -> Iterable[str]:
    from qexp.config.hydra_internals import complete, hydra_flags
    from qexp.config.overrides import open_nodes

    if word.startswith("-"):
        return hydra_flags()
    found = complete([*open_nodes(before), word])
    # Hydra does not know that a choice in a sub-folder is experiment=lab/mine.
    choices = config_choices()
    group, is_value, _ = word.partition("=")
    if is_value:
        return [*found, *(f"{group}={name}" for name in choices.get(group, ()))]
    return [*(item for item in found if item not in choices), *(f"{group}=" for group in choices)]


def _for_verb(verb: str, before: Sequence[str], word: str) -> Iterable[str]:
    parser = verb_parser(verb)
    options = {flag: action for action in parser._actions for flag in action.option_strings}
    if word.startswith("-"):
        return options
    positionals = [action for action in parser._actions if not action.option_strings]
    option, number = None, 0
    for item in before:
        if item in options and options[item].nargs != 0:
            option = options[item]
        else:
            number += option is None and not item.startswith("-")
            option = None
    action = option or positionals[min(number, len(positionals) - 1)]
    return action.choices or _values_of(str(action.metavar), word)


def _values_of(metavar: str, word: str) -> Iterable[str]:
    """List the values of an argument by its name in the help."""
    match metavar:
        case "NAME":
            return [*config_choices()["analysis"], *config_choices()["sweep/analysis"]]
        case "FORMAT":
            from qexp.export.formats import FORMATS

            return FORMATS
        case "RUN" | "RUN_DIR" | "RUN|SWEEP" | "A" | "B" | "ROOT" | "FOLDER":
            return _paths(word, is_run=True)
        case "PATH" | "FILE" | "PAGE":
            return _paths(word, is_run=False)
    return ()


def _paths(word: str, *, is_run: bool) -> Iterator[str]:
    """Yield runs and folders (and files), of which a folder that is no run ends with '/'."""
    from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME
    from qexp.archive.sweep_file import is_sweep

    head, slash, _ = word.rpartition("/")
    with suppress(OSError):
        for path in typed_path(f"{head}{slash}" or ".").iterdir():
            of_run = (ARCHIVE_NAME, JOURNAL_NAME)
            # A sweep is a folder of runs, with a journal.
            if not is_sweep(path) and any((path / name).is_file() for name in of_run):
                yield f"{head}{slash}{path.name}"
            elif path.is_dir():
                yield f"{head}{slash}{path.name}/"
            elif path.name == ARCHIVE_NAME or not is_run:
                yield f"{head}{slash}{path.name}"
