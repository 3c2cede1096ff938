"""A missing extra is named, by every module that needs one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.simulator.serving import environment


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("eas_tw.scrapy", "scrapy", "scrapy"),
        ("eas_tw.telemetry.prometheus", "prometheus_client", "prometheus"),
        ("eas_tw.telemetry.opentelemetry", "opentelemetry", "opentelemetry"),
    ],
)
def test_the_error_says_what_to_install(module: str, package: str, extra: str) -> None:
    """As if the package were not there."""
    program = f"import sys; sys.modules[{package!r}] = None; import {module}"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith(f"pip install 'eas-tw[{extra}]'")
