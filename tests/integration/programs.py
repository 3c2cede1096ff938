"""Runs Python programs in subprocesses, with warnings as errors."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

from tests.integration.conftest import TOKEN
from tests.patience import PATIENCE_S
from tests.simulator.serving import Served, environment

if TYPE_CHECKING:
    from collections.abc import Mapping


def program(
    served: Served, text: str, *arguments: str, python: str = sys.executable, also: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program until it ends.

    Args:
        served: The simulator; its URL and token are passed as `EAS_ENDPOINT` and `EAS_TOKEN`.
        text: The source of the program.
        arguments: Arguments of the interpreter and of the program.
        python: Path of the interpreter.
        also: Additional environment variables; `None` for no additional variables.
    """
    variables = {**environment(), "EAS_ENDPOINT": served.ready["url"], "EAS_TOKEN": TOKEN, **(also or {})}
    command = [python, *arguments, "-c", textwrap.dedent(text)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603


def printed(ended: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the output lines of a program. Assert that its exit code is 0 and standard error is empty."""
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    return ended.stdout.splitlines()
