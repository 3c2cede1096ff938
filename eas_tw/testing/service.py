"""`RemoteService`, one service of a running simulator, with its endpoint, instances, faults and canned responses."""

from __future__ import annotations

import base64
import pathlib
import tomllib
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eas_tw.testing.answers import Received, answer, as_response
from eas_tw.testing.callbacks import CallbackServer
from eas_tw.testing.remote import Remote, RemoteError, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_NOT_FOUND = 404
CAPTURE_BYTES = 2**16
"""The default of `capture_bytes`, the number of bytes of each body that the simulator stores for a test's service."""


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
    """Add a service to a simulator, and remove it at the end of the context.

    Args:
        remote: The simulator.
        name: The service's name; `None` for a generated, unique name.
        token: The service's token; empty for none, `None` for a generated token.
        processor: The name of a processor of the simulator, or a function that answers every request in this process.
            The function takes a `Received` and returns `answer(...)`, bytes or text.
        replay: The path of a recording (`python -m simulator record`), whose responses are used as canned responses;
            `None` for none.
        verify: Whether `assert_all_requests_came` is called at the end of the context, unless the block raised.
        how: Further fields of `POST /v1/services`, such as `instances`, `weights` and `capture_bytes`.
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
            if error.status != _NOT_FOUND:  # the test may have removed the service
                raise


@contextmanager
def first_service(remote: Remote) -> Iterator[RemoteService]:
    """Return the first service of a simulator, such as the service of a scenario, for the duration of the context."""
    name = remote.services()[0]["name"]
    service = RemoteService(remote, name, remote.tokens.get(name, ""))
    try:
        yield service
    finally:
        service.close()


class RemoteService:
    """One service of a running simulator; its instances are numbered from 0.

    Attributes:
        name: The service's name.
        token: The service's token; empty for none.
        simulator: The client of the simulator.
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
        """The endpoint to pass to a client, which is the same for discovery, VIPServer and the gateway."""
        return self.simulator.url

    @property
    def instances(self) -> list[Any]:
        """The current instances of the service."""
        services = {found["name"]: found for found in self.simulator.services()}
        if self.name not in services:
            raise RemoteError(_NOT_FOUND, f"no service {self.name!r}; there are {shortened(services)}")
        return list(services[self.name]["instances"])

    def address(self, number: int = 0) -> tuple[str, int]:
        """Return IP address and port of an instance."""
        instance = self._instance(number)
        return instance["ip"], instance["port"]

    # -- instances and faults

    def crash(self, number: int = 0) -> Any:
        """Crash an instance, which resets its connections and refuses new connections."""
        return self._change(number, state="crashed")

    def restart(self, number: int = 0) -> Any:
        """Run an instance again, on the same address, after `crash`, `hang` or `drain`."""
        return self._change(number, state="running")

    def hang(self, number: int = 0) -> Any:
        """Hang an instance, which then accepts connections and requests but does not answer."""
        return self._change(number, state="hung")

    def drain(self, number: int = 0) -> Any:
        """Drain an instance, which finishes its requests and refuses new connections."""
        return self._change(number, state="draining")

    def weigh(self, number: int, weight: float) -> Any:
        """Set the weight of an instance in discovery replies."""
        return self._change(number, weight=weight)

    def register(self, number: int = 0, *, registered: bool = True) -> Any:
        """Set whether discovery lists an instance."""
        return self._change(number, registered=registered)

    def add_instance(self, **how: Any) -> Any:
        """Add an instance; `how` may have `weight` and `registered`."""
        return self.simulator.add_instance(self.name, **how)

    def fault(self, type_: str, number: int | None = None, *, when: dict[str, Any] | None = None, **attrs: Any) -> Any:
        """Add a fault to the service, such as `fault("http_status", 0, code=503, when={"times": 3})`.

        Args:
            type_: The fault's type, as listed by `GET /v1/fault-types`.
            number: The number of the instance, ≥ 0; `None` for all instances.
            when: The conditions of the fault, as for `Remote.add_fault`; `None` for a fault that is always active.
            attrs: The attributes of the fault's type.
        """
        target = {"service": self.name}
        if number is not None:
            target["instance"] = self._instance(number)["id"]
        return self.simulator.add_fault(type_, target, when=when, **attrs)

    def discovery_fault(self, type_: str, *, when: dict[str, Any] | None = None, **attrs: Any) -> Any:
        """Add a discovery fault for this service, such as `discovery_fault("empty_list")`.

        Args:
            type_: The fault's type, as listed by `GET /v1/fault-types`.
            when: The conditions of the fault, as for `Remote.add_fault`; `None` for a fault that is always active.
            attrs: The attributes of the fault's type.
        """
        return self.simulator.add_fault(type_, {"discovery": True, "service": self.name}, when=when, **attrs)

    def heal(self) -> None:
        """Remove the faults of this service, and run and register all its instances."""
        for fault in self.simulator.faults():
            if fault["target"].get("service") == self.name:
                self.simulator.remove_fault(fault["name"])
        for number in range(len(self.instances)):
            self._change(number, state="running", registered=True)

    # -- canned responses

    def answers(
        self,
        *answers: Any,
        on: Mapping[str, Any] | None = None,
        times: int | None = None,
        **one: Any,
    ) -> str:
        """Add canned responses for matching requests; they are used in order, and the last response is repeated.

        From then on, a request that matches no canned response gets a 404. If several patterns match, the pattern
        that was added first is used.

        Args:
            answers: The responses: `answer(...)`, bytes, text, or a function of a `Received` that returns one of these,
                which runs in this process.
            on: The request pattern, made by `matching(...)`; `None` for every request.
            times: The maximum number of requests to answer, ≥ 1; further requests use the responses that were added
                later. `None` for no limit.
            one: The arguments of one `answer`, instead of `answers`, such as `answers(json={"score": 1}, status=200)`.

        Returns:
            The name of the entry in `simulator.stubs`.
        """
        if one and len(answers) > 1:
            raise TypeError("give several answers, each made by answer(...), or the arguments of one")
        given = [answer(*answers, **one)] if one or not answers else [self._response(value) for value in answers]
        limit = {} if times is None else {"times": times}
        stub = self.simulator.add_stub(self.name, request=dict(on or {}), responses=given, **limit)
        return str(stub["name"])

    def replay(self, recording: str | pathlib.Path) -> None:
        """Add the requests and responses of a recording (`python -m simulator record`) as canned responses."""
        document = tomllib.loads(pathlib.Path(recording).read_text("utf-8-sig"))
        for stub in document.get("stub", []):
            self.simulator.add_stub(self.name, **stub)

    def assert_all_requests_came(self) -> None:
        """Check the canned responses.

        Each canned response must have been used: `times` times if it has `times`, otherwise at least once. Each request
        must have matched a canned response.

        Raises:
            AssertionError: A canned response was not used, or a request matched none; the message lists them.
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
        """Stop the server of the functions that answer requests in this process."""
        if self._callbacks is not None:
            self._callbacks.close()
            self._callbacks = None

    def _response(self, value: Any) -> dict[str, Any]:
        if not callable(value):
            return as_response(value)
        if self._callbacks is None:
            self._callbacks = CallbackServer()
        return {"forward": self._callbacks.add(value)}

    # -- journal

    def received(self, limit: int = 100, **equal: Any) -> Sequence[Received]:
        """Return the newest requests with their headers and bodies, oldest first.

        Args:
            limit: The maximum number of requests.
            equal: Values of the journal's fields that the requests must have, such as `status=200`.
        """
        rows = self.simulator.requests(limit, content=1, service=self.name, **equal)
        return [_received(row) for row in rows]

    def requests(self, limit: int = 100, **equal: Any) -> Any:
        """Return the newest rows of the journal, oldest first.

        Args:
            limit: The maximum number of rows.
            equal: Values of the journal's fields that the rows must have, such as `status=200`.
        """
        return self.simulator.requests(limit, service=self.name, **equal)

    def count(self, number: int | None = None, **equal: Any) -> int:
        """Count the requests that reached the service, or one of its instances, such as `count(0, status=200)`.

        Args:
            number: The number of the instance, ≥ 0; `None` for all instances.
            equal: Values of the journal's fields that the requests must have.
        """
        if number is not None:
            equal["instance"] = self._instance(number)["id"]
        return self.simulator.count(service=self.name, **equal)

    def _instance(self, number: int) -> Any:
        """Return an instance by its number.

        Raises:
            RemoteError: There is no such instance; the message lists the instances.
        """
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
