"""One service of a running simulator, as a test uses it: its endpoint, its instances, what breaks them."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eas_tw.testing.remote import Remote, RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_FOUND = 404


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
