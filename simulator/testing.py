"""What a test holds: a simulator in a process of its own, and one service of it by its verbs.

The standard library only; the pytest plug-in is made of these, and any other test runner can use them as they are.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from simulator.remote import Remote, RemoteError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

_START_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.01
_STOP_WITHIN_S = 10.0
_NOT_FOUND = 404


class SimulatorFailed(RuntimeError):
    """The simulator did not start; the text is what it said."""


@contextmanager
def subprocess_simulator(folder: pathlib.Path, *arguments: str, seed: int = 0) -> Iterator[Remote]:
    """A simulator in a process of its own, on a free port, for as long as the context lasts.

    It ends with the process that started it, however that ends.

    Args:
        folder: For its ready file and its log.
        arguments: More of `python -m simulator serve`.
        seed: Of everything that is left to chance.

    Raises:
        SimulatorFailed: It did not start.
    """
    ready, log = folder / "ready.json", folder / "simulator.log"
    command = [sys.executable, "-m", "simulator", "serve", "--port", "0", "--ready-file", str(ready)]
    command += ["--seed", str(seed), "--until-eof", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)  # noqa: S603
    try:
        _wait_for(ready, process, log)
        yield Remote(json.loads(ready.read_text("utf-8"))["url"])
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _wait_for(ready: pathlib.Path, process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    never = threading.Event()
    for _ in range(int(_START_WITHIN_S / _LOOK_EVERY_S)):
        if ready.exists():
            return
        if process.poll() is not None:
            break
        never.wait(_LOOK_EVERY_S)
    raise SimulatorFailed(f"the simulator did not start:\n{log.read_text('utf-8', 'replace')}")


@contextmanager
def start_service(remote: Remote, name: str | None = None, token: str | None = None, **how: Any) -> Iterator[Any]:
    """A service of its own, for as long as the context lasts.

    Args:
        remote: Of which simulator.
        name: One that nobody else has, when `None`.
        token: One made up, when `None`; empty for none.
        how: As `POST /v1/services` takes it: `instances`, `weights`, `processor`, …
    """
    name = name or f"service-{uuid.uuid4().hex[:8]}"
    token = f"token-{uuid.uuid4().hex}" if token is None else token
    remote.add_service(name, token=token, **how)
    try:
        yield RemoteService(remote, name, token)
    finally:
        try:
            remote.remove_service(name)
        except RemoteError as error:
            if error.status != _NOT_FOUND:  # the test may have removed it itself
                raise


class RemoteService:
    """One service of a running simulator; instances are named by number, from 0.

    Attributes:
        name: Its name.
        token: What callers must know.
        simulator: All of the simulator.
    """

    def __init__(self, simulator: Remote, name: str, token: str) -> None:
        self.simulator = simulator
        self.name = name
        self.token = token

    def __repr__(self) -> str:
        return f"<service {self.name} at {self.endpoint}>"

    @property
    def endpoint(self) -> str:
        """What a client is given, for discovery, VIPServer and the gateway."""
        return self.simulator.url

    @property
    def instances(self) -> list[Any]:
        """Its instances, as they are now."""
        return next(list(found["instances"]) for found in self.simulator.services() if found["name"] == self.name)

    def address(self, number: int = 0) -> tuple[str, int]:
        """Where an instance listens."""
        instance = self.instances[number]
        return instance["ip"], instance["port"]

    # -- verbs

    def crash(self, number: int = 0) -> Any:
        """Reset its connections and refuse new ones."""
        return self._change(number, state="crashed")

    def restart(self, number: int = 0) -> Any:
        """Run again, on the same address; also after `hang` and `drain`."""
        return self._change(number, state="running")

    def hang(self, number: int = 0) -> Any:
        """Accept and say nothing."""
        return self._change(number, state="hung")

    def drain(self, number: int = 0) -> Any:
        """Finish what has begun and take nothing new."""
        return self._change(number, state="draining")

    def weigh(self, number: int, weight: float) -> Any:
        """What discovery says of it."""
        return self._change(number, weight=weight)

    def register(self, number: int = 0, *, registered: bool = True) -> Any:
        """Let discovery list it, or not."""
        return self._change(number, registered=registered)

    def add_instance(self, **how: Any) -> Any:
        """Start one more (`weight`, `registered`)."""
        return self.simulator.add_instance(self.name, **how)

    def fault(self, type_: str, number: int | None = None, *, when: dict[str, Any] | None = None, **attrs: Any) -> Any:
        """Put a fault to work on one instance, or on all: `fault("http_status", 0, code=503, when={"times": 3})`."""
        target = {"service": self.name}
        if number is not None:
            target["instance"] = self.instances[number]["id"]
        return self.simulator.add_fault(type_, target, when=when, **attrs)

    def discovery_fault(self, type_: str, *, when: dict[str, Any] | None = None, **attrs: Any) -> Any:
        """Put a fault to work on what discovery says of this service: `discovery_fault("empty_list")`."""
        return self.simulator.add_fault(type_, {"discovery": True, "service": self.name}, when=when, **attrs)

    def heal(self) -> None:
        """End the faults on this service, and let all its instances run and be listed."""
        for fault in self.simulator.faults():
            if fault["target"].get("service") == self.name:
                self.simulator.remove_fault(fault["name"])
        for number in range(len(self.instances)):
            self._change(number, state="running", registered=True)

    # -- what happened

    def requests(self, limit: int = 100, **equal: Any) -> Any:
        """The newest rows of the journal, oldest first."""
        return self.simulator.requests(limit, service=self.name, **equal)

    def count(self, number: int | None = None, **equal: Any) -> int:
        """How many requests reached it, or one of its instances: `count(0, status=200)`."""
        if number is not None:
            equal["instance"] = self.instances[number]["id"]
        return self.simulator.count(service=self.name, **equal)

    def _change(self, number: int, **changes: Any) -> Any:
        return self.simulator.change(self.instances[number]["id"], **changes)
