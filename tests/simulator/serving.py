"""A simulator in a subprocess: start, requests, and end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path


def environment() -> dict[str, str]:
    """Return this process's environment with its import path, warnings as errors, and no PYTHONUNBUFFERED."""
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**ours, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONWARNINGS": "error"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m simulator` until it ends."""
    command = [sys.executable, "-m", "simulator", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603


class Served:
    """A running simulator. Its ready file is written immediately after the last line of the banner."""

    def __init__(self, folder: Path, *arguments: str, port: str = "0") -> None:
        self.ready_file = folder / "ready.json"
        arguments = ("--port", port, "--ready-file", str(self.ready_file), *arguments)
        self._command = [sys.executable, "-m", "simulator", *arguments]
        self._folder = folder
        self.output = ""
        self.code: int | None = None

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(  # noqa: S603
            self._command,
            env=environment(),
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if line.startswith("ready"):
                break
        assert self.ready_file.exists(), self.output
        self.ready = json.loads(self.ready_file.read_text())
        self.instances = self.ready["services"][0]["instances"]
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdout is not None
        self.process.terminate()
        self.output += self.process.stdout.read()
        self.process.stdout.close()
        self.code = self.process.wait(PATIENCE_S)

    def ask(
        self, instance: dict[str, Any], method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request to an instance, and return status and body."""
        return _exchange(instance["ip"], instance["port"], method, path, body, headers or {})

    def predict(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Send a prediction request to the first instance."""
        return self.ask(self.instances[0], "POST", f"/api/predict/{path}", body, headers)

    def raw(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Send a request to the endpoint."""
        url = urlsplit(self.ready["url"])
        assert url.hostname is not None
        assert url.port is not None
        return _exchange(url.hostname, url.port, method, path, body, headers)

    def admin(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call an operation of the admin API, and return status and decoded body."""
        data = b"" if body is None else json.dumps(body).encode()
        status, text = self.raw(method, f"/_eas{path}", data, {"Content-Type": "application/json"})
        return status, json.loads(text) if text else None

    def patch(self, service: str, instance: str, **changes: Any) -> Any:
        """Change an instance through the admin API."""
        status, answer = self.admin("PATCH", f"/v1/services/{service}/instances/{instance}", changes)
        assert status == 200, answer
        return answer

    def discover(self, service: str) -> Any:
        """Return the rows of a discovery reply for a service."""
        path = f"/exported/apis/eas.alibaba-inc.k8s.io/v1/upstreams/{service}"
        return json.loads(self.raw("GET", path, b"", {})[1])["endpoints"]["items"]


def _exchange(host: str, port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
