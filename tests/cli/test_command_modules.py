"""The modules of the commands, which are imported only when they are used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from eas_tw.cli.main import COMMANDS
from tests.integration.programs import printed
from tests.patience import PATIENCE_S
from tests.simulator.serving import environment


@pytest.mark.parametrize("name", COMMANDS)
def test_the_module_of_a_command_has_its_functions(name: str) -> None:
    module = import_module(COMMANDS[name][0])
    assert module.DESCRIPTION.endswith((".", ")"))
    assert callable(module.add_actions if name == "queue" else module.add_arguments)


def test_only_the_module_of_the_command_is_imported() -> None:
    text = (
        "import sys\nfrom eas_tw.cli.main import _parser\n_parser('predict')\n"
        "print(*sorted(name for name in sys.modules if name.startswith('eas_tw.')))"
    )
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", text], env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    (line,) = printed(ended)
    imported = set(line.split()) & {module for module, _ in COMMANDS.values()}
    assert imported == {"eas_tw.cli.predict", "eas_tw.cli.completion"}
