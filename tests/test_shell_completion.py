"""Completion of both commands, tested with the shells."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from pathlib import Path

import pytest

from eas_tw.cli.main import _parser
from eas_tw.shell_completion import SHELLS, commands_of, script
from simulator.cli import whole_parser
from tests.needs import program

PARSERS = {"eas-tw": _parser, "eas-simulator": whole_parser}
TYPED = {
    "eas-tw pre": ["predict"],
    "eas-tw predict --out": ["--output"],
    "eas-tw predict --output r": ["raw"],
    "eas-tw discover --endpoint-type v": ["vipserver"],
    "eas-tw predict --tok": ["--token-file"],
    "eas-tw completion f": ["fish"],
    "eas-simulator instances cr": ["crash"],
    "eas-simulator --vers": ["--version"],
    "eas-simulator serve --spr": ["--spread-ips"],
    "eas-simulator faults add --prob": ["--probability"],
}


def written(tmp_path: Path, command: str, shell: str) -> Path:
    path = tmp_path / f"{command}.{shell}"
    path.write_text(script(PARSERS[command](), command, shell), "utf-8")
    return path


def said_by(shell: str, text: str) -> str:
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    command = [shell if shell == "bash" else program(shell), *options, "-c", text]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.parametrize("typed", TYPED)
def test_bash_completes(tmp_path: Path, typed: str) -> None:
    words = typed.split(" ")
    path = written(tmp_path, words[0], "bash")
    text = f"""source {shlex.quote(str(path))}
        COMP_WORDS=({" ".join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}
        _{words[0].replace("-", "_")}; printf '%s\\n' "${{COMPREPLY[@]}}" """
    assert said_by("bash", text).split() == TYPED[typed]


def test_bash_offers_files_after_an_option_with_a_value(tmp_path: Path) -> None:
    """With `-o default`, bash completes file names when the function offers nothing."""
    path = written(tmp_path, "eas-tw", "bash")
    text = f"source {path}; COMP_WORDS=(eas-tw predict --file ''); COMP_CWORD=3; _eas_tw; echo ${{#COMPREPLY[@]}}"
    assert said_by("bash", text) == "0\n"
    assert f"complete -o default -F _eas_tw {'eas-tw'}" in path.read_text("utf-8")


@pytest.mark.parametrize("typed", TYPED)
def test_fish_completes(tmp_path: Path, typed: str) -> None:
    path = written(tmp_path, typed.split(" ", maxsplit=1)[0], "fish")
    offered = said_by("fish", f"source {path}; complete -C {shlex.quote(typed)}")
    assert [line.partition("\t")[0] for line in offered.splitlines()] == TYPED[typed]


@pytest.mark.parametrize("command", PARSERS)
def test_zsh_accepts_the_script(tmp_path: Path, command: str) -> None:
    path = written(tmp_path, command, "zsh")
    text = f"autoload -U compinit; compinit -u -d {tmp_path}/dump; source {path}; print ${{_comps[{command}]}}"
    assert said_by("zsh", text) == f"_{command.replace('-', '_')}\n"


@pytest.mark.parametrize("command", PARSERS)
@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_every_script(command: str, shell: str) -> None:
    text = script(PARSERS[command](), command, shell)
    for each in commands_of(PARSERS[command]()):
        for word in [*each.path, *(flag.lstrip("-") for option in each.options for flag in option.flags)]:
            assert word in text
    assert "--token " not in script(_parser(), "eas-tw", shell), "it is refused, so it is not offered"


def test_a_description_cannot_end_its_quotation() -> None:
    parser = argparse.ArgumentParser(prog="tool")
    parser.add_argument("--odd", help="the service's \\ name (default: %(default)s)", default=1)
    for shell in ("zsh", "fish"):
        assert "the service’s / name'" in script(parser, "tool", shell)
