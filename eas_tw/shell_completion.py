"""Completion scripts for bash, zsh and fish, generated from a program's argparse parser.

Both command lines (`eas-tw` and the simulator's) use this module, so it does not depend on their commands.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

SHELLS = ("bash", "zsh", "fish")


@frozen
class Option:
    """An option of a command.

    Attributes:
        flags: The spellings of the option, such as `-v` and `--verbose`.
        description: The help text, on one line.
        takes_value: Whether a value follows the option.
        choices: The allowed values; empty if any value is allowed.
    """

    flags: tuple[str, ...]
    description: str
    takes_value: bool
    choices: tuple[str, ...]


@frozen
class Command:
    """A command, or the program itself.

    Attributes:
        path: The words that select the command, such as `("instances", "crash")`; empty for the program itself.
        commands: The subcommands, with their descriptions.
        options: The options.
        choices: The allowed values of the first argument; empty if there is no argument, or if any value is allowed.
    """

    path: tuple[str, ...]
    commands: Mapping[str, str]
    options: tuple[Option, ...]
    choices: tuple[str, ...]


def script(parser: argparse.ArgumentParser, program: str, shell: str) -> str:
    """Return the completion script of a program for one of `SHELLS`."""
    return _SCRIPTS[shell](program, tuple(commands_of(parser)))


def commands_of(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = (), beside: tuple[str, ...] = ()
) -> Iterator[Command]:
    """Yield the command of a parser, and those of its subparsers.

    Args:
        parser: The parser.
        path: The words that select the parser's command.
        beside: The names of all commands of the same level, including this one.
    """
    below: dict[str, argparse.ArgumentParser] = {}
    described: dict[str, str] = {}
    options: list[Option] = []
    choices: tuple[str, ...] = ()
    for action in parser._actions:  # noqa: SLF001  argparse has no public way to read a parser
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            below = dict(action.choices)
            described = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
        elif action.help == argparse.SUPPRESS:
            continue
        elif action.option_strings:
            allowed = tuple(map(str, action.choices or ()))
            options.append(Option(tuple(action.option_strings), _text(action), action.nargs != 0, allowed))
        else:
            choices = choices or tuple(map(str, action.choices or ()))
    # A name of two words, such as `perf compare`, is a subcommand of the first word, which is itself a command.
    first_words = {name: described.get(name, "") for name in below if " " not in name}
    second_words = {name.partition(" ")[2]: "" for name in beside if path and name.startswith(f"{path[-1]} ")}
    yield Command(path, first_words | second_words, tuple(options), choices)
    for name, parser_below in below.items():
        yield from commands_of(parser_below, (*path, *name.split()), tuple(below))


def _text(action: argparse.Action) -> str:
    return re.sub(r" *\(default: %\(default\)s\)|%\(\w+\)s", "", action.help or "")


def _function(program: str) -> str:
    return "_" + re.sub(r"\W", "_", program)


def _route(command: Command) -> str:
    """Return the words of a command, each after a space, as in the variable `route` of the bash and zsh scripts."""
    return "".join(f" {word}" for word in command.path)


def _routes(commands: tuple[Command, ...]) -> str:
    return "|".join(f'"{_route(command)}"' for command in commands if command.path)


def _cases(commands: tuple[Command, ...], *, listed: Callable[[Option], str], free: str) -> Iterator[str]:
    """Yield the lines of a shell's `case` statement that complete the value of an option.

    Args:
        commands: All commands.
        listed: A function that returns the shell code for an option with choices.
        free: The shell code for any other option, such as completion of file names.
    """
    others = []
    for command in commands:
        for option in command.options:
            named = "|".join(f'"{_route(command)}:{flag}"' for flag in option.flags)
            if option.choices:
                yield f"        ({named}) {listed(option)}; return ;;"
            elif option.takes_value:
                others.append(named)
    if others:
        yield f"        ({'|'.join(others)}) {free}return ;;"


def _bash(program: str, commands: tuple[Command, ...]) -> str:
    def offered(words: Iterable[str]) -> str:
        return f'COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$current"))'

    function = _function(program)
    return "\n".join(
        [
            f"# Completion of {program} for bash.",
            f"{function}() {{",
            '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" route="" word',
            "    COMPREPLY=()",
            '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            f'        case "$route $word" in ({_routes(commands)}) route="$route $word" ;; esac',
            "    done",
            '    case "$route:$previous" in',
            *_cases(commands, listed=lambda option: offered(option.choices), free=""),
            "    esac",
            '    case "$route" in',
            *(f'        ("{_route(command)}") {offered(_words(command))} ;;' for command in commands),
            "    esac",
            "}",
            f"complete -o default -F {function} {program}",  # `-o default` completes file names if there is no match
            "",
        ]
    )


def _words(command: Command) -> Iterator[str]:
    yield from command.commands
    yield from command.choices
    for option in command.options:
        yield from option.flags


def _zsh(program: str, commands: tuple[Command, ...]) -> str:
    def entries(command: Command) -> Iterator[str]:
        described = dict.fromkeys(command.choices, "") | dict(command.commands)
        described |= {flag: option.description for option in command.options for flag in option.flags}
        for word, text in described.items():
            yield _quoted(f"{word}:{text}" if text else word)

    function = _function(program)
    return "\n".join(
        [
            f"#compdef {program}",
            f"{function}() {{",
            '    local route="" word previous="${words[CURRENT-1]}"',
            "    local -a found",
            '    for word in "${(@)words[2,CURRENT-1]}"; do',
            f'        case "$route $word" in ({_routes(commands)}) route="$route $word" ;; esac',
            "    done",
            '    case "$route:$previous" in',
            *_cases(commands, listed=lambda option: f"compadd -- {' '.join(option.choices)}", free="_files; "),
            "    esac",
            '    case "$route" in',
            *(f'        ("{_route(command)}") found=({" ".join(entries(command))}) ;;' for command in commands),
            "    esac",
            f"    _describe {program} found",
            "    _files",
            "}",
            # zsh runs a file of $fpath as the body of the function. If the file is sourced, it registers the function.
            f'if [[ "${{funcstack[1]}}" == {function} ]]; then {function} "$@"; else compdef {function} {program}; fi',
            "",
        ]
    )


def _fish(program: str, commands: tuple[Command, ...]) -> str:
    return "\n".join(
        [
            f"# Completion of {program} for fish.",
            *(line for each in commands for line in _fish_lines(program, each)),
            "",
        ]
    )


def _fish_lines(program: str, command: Command) -> Iterator[str]:
    seen = [f"__fish_seen_subcommand_from {word}" for word in command.path]
    deeper = [f"not __fish_seen_subcommand_from {' '.join(command.commands)}"] if command.commands else []
    condition = f"complete -c {program} -n {_quoted('; and '.join([*seen, *deeper]) or 'true')}"
    for name, text in command.commands.items():
        yield f"{condition} -f -a {name} -d {_quoted(text)}"
    if command.choices:
        yield f"{condition} -f -a {_quoted(' '.join(command.choices))}"
    for option in command.options:
        named = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
        value = f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else " -r" * option.takes_value
        yield f"{condition} {named}{value} -d {_quoted(option.description)}"


def _quoted(text: str) -> str:
    """Quote a text for zsh and fish with single quotes, and replace the characters that are special within them."""
    return "'" + text.replace("'", "’").replace("\\", "/") + "'"


_SCRIPTS: Mapping[str, Callable[[str, tuple[Command, ...]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
