"""Programs that some tests need. Without them the tests are skipped here, and fail in CI."""

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
"""By the program's name: the commands that may be it, and how Debian gets it."""


def program(name: str) -> str:
    """Find a program, or skip the test.

    Args:
        name: One of `ADVICE`.

    Returns:
        The path of its command. Without it, the test that asks is skipped with the reason and the advice; under `CI`
        or with `EAS_REQUIRE_BROWSER=1` it fails instead, so that nothing is left out unseen where everything must run.
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
    """Whether a missing program is a failure."""
    return any(os.environ.get(name, "") not in ("", "0", "false") for name in ("CI", "EAS_REQUIRE_BROWSER"))
