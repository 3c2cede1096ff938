"""One service of a running simulator, as a test uses it: its endpoint, its instances, what breaks them."""

from __future__ import annotations

import base64
import tomllib
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eas_tw.testing.answers import Received, answer, as_response
from eas_tw.testing.callbacks import CallbackServer
from eas_tw.testing.remote import Remote, RemoteError, shortened

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator, Mapping, Sequence

_NOT_FOUND = 404
CAPTURE_BYTES = 2**16
"""Bytes of each body that a test's service keeps, unless the test says otherwise."""


@contextmanager
def start_service(
    remote: Remote,
    name: str | None = None,
    token: str | None = None,
    *,
    processor: str | Callable[[Received], Any] = "",
    replay: str | pathlib.Path | None = None,
    verify: bool = False,
    **how: Any,
) -> Iterator[RemoteService]:
    """Start a service, and end it with the context.

    Args:
        remote: Of which simulator.
        name: One that nobody else has, when `None`.
        token: One made up, when `None`; empty for none.
        processor: The name of one of the simulator's, or a function that answers every request in this process: it
            takes a `Received` and returns `answer(...)`, bytes or text.
        replay: A recording (`python -m simulator record`): its responses answer its requests.
        verify: Whether leaving the context calls `assert_all_requests_came`, unless an exception is on its way.
        how: As `POST /v1/services` takes it: `instances`, `weights`, `capture_bytes`, …
    """
    name = name or f"service-{uuid.uuid4().hex[:8]}"
    token = f"token-{uuid.uuid4().hex}" if token is None else token
    named = processor if isinstance(processor, str) else ""
    remote.add_service(name, token=token, processor=named, **{"capture_bytes": CAPTURE_BYTES, **how})
    service = RemoteService(remote, name, token)
    try:
        if not isinstance(processor, str):
            service.answers(processor)
        if replay is not None:
            service.replay(replay)
        yield service
        if verify:
            service.assert_all_requests_came()
    finally:
        service.close()
        try:
            remote.remove_service(name)
        except RemoteError as error:
            if error.status != _NOT_FOUND:  # the test may have removed it itself
                raise


@contextmanager
def first_service(remote: Remote) -> Iterator[RemoteService]:
    """Use the first service that a simulator has, such as a scenario's."""
    name = remote.services()[0]["name"]
    service = RemoteService(remote, name, remote.tokens.get(name, ""))
    try:
        yield service
    finally:
        service.close()


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
        self._callbacks: CallbackServer | None = None

    def __repr__(self) -> str:
        return f"<service {self.name} at {self.endpoint}>"

    @property
    def endpoint(self) -> str:
        """What a client is given, for discovery, VIPServer and the gateway."""
        return self.simulator.url

    @property
    def instances(self) -> list[Any]:
        """Its instances, as they are now."""
        services = {found["name"]: found for found in self.simulator.services()}
        if self.name not in services:
            raise RemoteError(_NOT_FOUND, f"no service {self.name!r}; there are {shortened(services)}")
        return list(services[self.name]["instances"])

    def address(self, number: int = 0) -> tuple[str, int]:
        """Where an instance listens."""
        instance = self._instance(number)
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
            target["instance"] = self._instance(number)["id"]
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

    # -- canned answers

    def answers(
        self,
        *answers: Any,
        on: Mapping[str, Any] | None = None,
        times: int | None = None,
        **one: Any,
    ) -> str:
        """Answer matching requests with canned answers, one after the other; the last one again and again.

        Requests that no canned answer matches get a 404 from then on. Answers given first are asked first.

        Args:
            answers: Each an `answer(...)`, bytes, text, or a function from a `Received` to one of these, which runs in
                this process.
            on: Which requests, as `matching(...)` says; `None` for every request.
            times: How many requests at most; then the answers given later are asked. `None` for any number.
            one: Instead of `answers`, the arguments of one `answer`: `answers(json={"score": 1}, status=200)`.

        Returns:
            The name under which `simulator.stubs` lists it.
        """
        if one and len(answers) > 1:
            raise TypeError("give several answers, each made by answer(...), or the arguments of one")
        given = [answer(*answers, **one)] if one or not answers else [self._response(value) for value in answers]
        limit = {} if times is None else {"times": times}
        stub = self.simulator.add_stub(self.name, request=dict(on or {}), responses=given, **limit)
        return str(stub["name"])

    def replay(self, recording: str | pathlib.Path) -> None:
        """Answer the requests of a recording with its responses (`python -m simulator record`)."""
        with open(recording, "rb") as file:  # noqa: PTH123  a string or a path
            document = tomllib.load(file)
        for stub in document.get("stub", []):
            self.simulator.add_stub(self.name, **stub)

    def assert_all_requests_came(self) -> None:
        """Check that every canned answer was used, those with `times` that often, and that no other request came.

        Raises:
            AssertionError: Something is missing, or unexpected; the text lists it.
        """
        found = self.simulator.stubs(self.name)
        wrong = [
            f"{stub['request']}: {stub['hits']} of {stub['times'] or 'at least 1'} requests came"
            for stub in found["stubs"]
            if stub["hits"] < (stub["times"] or 1)
        ]
        wrong += [f"unexpected: {request}" for request in found["unmatched"]]
        if wrong:
            raise AssertionError(f"{self.name}: " + "; ".join(wrong))

    def close(self) -> None:
        """End what this object runs in this process: the functions that answer."""
        if self._callbacks is not None:
            self._callbacks.close()
            self._callbacks = None

    def _response(self, value: Any) -> dict[str, Any]:
        if not callable(value):
            return as_response(value)
        if self._callbacks is None:
            self._callbacks = CallbackServer()
        return {"forward": self._callbacks.add(value)}

    # -- what happened

    def received(self, limit: int = 100, **equal: Any) -> Sequence[Received]:
        """Return the newest requests with their headers and bodies, oldest first; fields of the journal choose."""
        rows = self.simulator.requests(limit, content=1, service=self.name, **equal)
        return [_received(row) for row in rows]

    def requests(self, limit: int = 100, **equal: Any) -> Any:
        """The newest rows of the journal, oldest first."""
        return self.simulator.requests(limit, service=self.name, **equal)

    def count(self, number: int | None = None, **equal: Any) -> int:
        """How many requests reached it, or one of its instances: `count(0, status=200)`."""
        if number is not None:
            equal["instance"] = self._instance(number)["id"]
        return self.simulator.count(service=self.name, **equal)

    def _instance(self, number: int) -> Any:
        """Return the instance of that number, or raise an error that says which there are."""
        found = self.instances
        try:
            return found[number]
        except (IndexError, TypeError):
            there = shortened(f"{at} ({instance['id']})" for at, instance in enumerate(found))
            raise RemoteError(
                _NOT_FOUND, f"no instance {number!r} in service {self.name!r}; there are {there}"
            ) from None

    def _change(self, number: int, **changes: Any) -> Any:
        return self.simulator.change(self._instance(number)["id"], **changes)


def _received(row: Mapping[str, Any]) -> Received:
    request = (row["content"] or {}).get("request") or {}
    text, encoded = request.get("body"), request.get("body_base64", "")
    body = base64.b64decode(encoded) if text is None else text.encode()
    return Received(row["method"], row["path"], request.get("headers", {}), body)
