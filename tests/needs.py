"""Programs that some tests need. Without them, these tests are skipped, or fail where all tests must run, as in CI."""

from __future__ import annotations

import os
import shutil

import pytest

ADVICE = {
    "Chromium": (("chromium", "chromium-browser", "google-chrome", "chrome"), "apt-get install chromium"),
    "curl": (("curl",), "apt-get install curl"),
    "promtool": (("promtool",), "apt-get install prometheus"),
    "zsh": (("zsh",), "apt-get install zsh"),
    "fish": (("fish",), "apt-get install fish"),
}
"""Name of a program -> (its possible commands, how to install it on Debian)."""


def program(name: str) -> str:
    """Find a program, or skip the running test.

    Args:
        name: A key of `ADVICE`.

    Returns:
        Path of the program's command. If there is none, the test is skipped with a message that says how to install it.
        With `CI` or `EAS_REQUIRE_BROWSER=1` in the environment, the test fails instead.
    """
    commands, advice = ADVICE[name]
    for command in commands:
        if found := shutil.which(command):
            return found
    reason = f"{name} is not installed; on Debian: {advice}"
    if must_run_all():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def must_run_all() -> bool:
    """Return whether a missing program is a failure, and not a reason to skip a test."""
    return any(os.environ.get(name, "") not in ("", "0", "false") for name in ("CI", "EAS_REQUIRE_BROWSER"))
