"""Runs `eas-tw score` in subprocesses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from eas_tw.testing.service import RemoteService
from tests.patience import PATIENCE_S
from tests.simulator.serving import environment


def variables(service: RemoteService) -> dict[str, str]:
    mine = {name: value for name, value in environment().items() if not name.startswith("EAS_")}
    return {
        **mine,
        "HOME": "/nonexistent",
        "EAS_ENDPOINT": service.endpoint,
        "EAS_SERVICE": service.name,
        "EAS_TOKEN": service.token,
        "EAS_TIMEOUT_S": str(PATIENCE_S),
    }


def start(
    service: RemoteService, folder: Path, *arguments: str, stdin: int | IO[bytes] = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eas_tw.cli", "score", *arguments]
    return subprocess.Popen(  # noqa: S603
        command,
        cwd=folder,
        env=variables(service),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def score(
    service: RemoteService, folder: Path, *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the command until it ends. Assert that it printed no traceback."""
    process = start(service, folder, *arguments)
    stdout, stderr = process.communicate(stdin, PATIENCE_S)
    assert b"Traceback" not in stderr, stderr.decode()
    assert service.token.encode() not in stdout + stderr
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


def account(ended: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """Return the summary of the job that `eas-tw score --json` has printed."""
    assert ended.returncode == 0, ended.stderr.decode()
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def write_rows(file: Path, count: int) -> list[dict[str, Any]]:
    rows = [{"id": number, "x": number / 2} for number in range(count)]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return rows
