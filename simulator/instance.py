"""One instance: an address, a state, and the way from a request to its answer.

Requests pass: state, faults, the checks every instance makes (path, method, token), the processor; and leave one row in
the journal. State never changes what discovery says; that is the service's registration.
"""

from __future__ import annotations

import inspect
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from twisted.internet.defer import Deferred, DeferredList, succeed

from simulator.auth import is_authorized
from simulator.http1 import HANG, Response, Server
from simulator.journal import Row
from simulator.ports import Address

if TYPE_CHECKING:
    from simulator.faults import Fault
    from simulator.fleet import Service
    from simulator.http1 import Answer, Request, ServerConnection


class State(StrEnum):
    """What an instance does."""

    RUNNING = "running"
    HUNG = "hung"
    """Accepts and reads, and answers nothing until it runs again; then it answers what it has read."""
    CRASHED = "crashed"
    """Its port refuses, and its connections were reset."""
    DRAINING = "draining"
    """Terminating: refuses new connections, has closed idle ones, answers what comes on the others and closes them."""


class SimulatedInstance:
    """An instance of a service.

    Args:
        service: Whose.
        instance_id: Such as `mnist-0`.
        ip: Where it listens.
        port: 0 for any that is free.
        weight: What discovery says of it.
    """

    def __init__(self, service: Service, instance_id: str, ip: str, port: int = 0, weight: float = 100) -> None:
        self.id = instance_id
        self.service = service
        self.weight = weight
        self.registered = True
        self.state = State.RUNNING
        self.address = Address(service.world.reactor, ip, port)
        self.server = Server(self.handle)
        self._held: list[tuple[Deferred[Answer], Request]] = []

    def __repr__(self) -> str:
        return f"<instance {self.id} {self.ip}:{self.port} {self.state} weight={self.weight:g}>"

    @property
    def ip(self) -> str:
        """Its address."""
        return self.address.ip

    @property
    def port(self) -> int:
        """Its port, the same through crash and reset."""
        return self.address.port

    def start(self) -> None:
        """Begin to listen."""
        self.address.listen(self.server)

    def stop(self) -> Deferred[Any]:
        """End for good; fires when the port and every connection are gone."""
        self._drop_held()
        gone = DeferredList([self.address.give_up(), self.server.when_empty()])
        self.server.reset_connections()
        return gone

    # -- verbs

    def crash(self) -> Deferred[None]:
        """Reset every connection and refuse new ones; fires when that is in effect."""
        return self.set_state(State.CRASHED)

    def restart(self) -> Deferred[None]:
        """Run again, on the same address."""
        return self.set_state(State.RUNNING)

    def hang(self) -> Deferred[None]:
        """Accept and say nothing."""
        return self.set_state(State.HUNG)

    def resume(self) -> Deferred[None]:
        """Go on, with what was asked meanwhile."""
        return self.set_state(State.RUNNING)

    def drain(self) -> Deferred[None]:
        """Finish what has begun and take nothing new."""
        return self.set_state(State.DRAINING)

    def set_state(self, state: State) -> Deferred[None]:
        """Change the state; fires when the change is in effect."""
        before, self.state = self.state, state
        if state is State.CRASHED:
            self._drop_held()
            self.server.reset_connections()
        elif state is State.DRAINING:
            for connection in list(self.server.connections):
                if connection.is_idle:
                    connection.close()
        if before is State.HUNG and state is not State.HUNG:
            self._answer_held()
        return self.apply_faults()

    def apply_faults(self) -> Deferred[None]:
        """Listen or refuse, as state and faults have it; fires when that is in effect."""
        faulty = self.service.world.faults.refuses(self.service.name, self.id)
        if faulty or self.state in (State.CRASHED, State.DRAINING):
            return self.address.refuse()
        self.address.listen(self.server)
        return succeed(None)

    # -- requests

    def handle(self, request: Request) -> Answer | Deferred[Answer]:
        """Answer a request, or not."""
        if self.state is State.HUNG:
            held: Deferred[Answer] = Deferred()
            self._held.append((held, request))
            return held
        return _Exchange(self, request).begin()

    def _answer_held(self) -> None:
        held, self._held = self._held, []
        for waiting, request in held:
            answer = self.handle(request)
            if isinstance(answer, Deferred):
                answer.chainDeferred(waiting)
            else:
                waiting.callback(answer)

    def _drop_held(self) -> None:
        held, self._held = self._held, []
        for waiting, request in held:
            _Exchange(self, request).note(0, b"")
            if not waiting.called:
                waiting.callback(HANG)


class _Exchange:
    """One request on its way through an instance."""

    def __init__(self, instance: SimulatedInstance, request: Request) -> None:
        self._instance = instance
        self._request = request
        self._reactor = instance.service.world.reactor
        self._began = self._reactor.seconds()
        self._fault = ""

    def begin(self) -> Answer | Deferred[Answer]:
        service = self._instance.service
        faults = service.world.faults.on_instance(service.name, self._instance.id)
        return self._suffer(faults) if faults else self._work()

    def note(self, status: int, body: bytes) -> None:
        """Write the journal's row."""
        now, request = self._reactor.seconds(), self._request
        self._instance.service.world.journal.write(
            Row(
                at=now,
                service=self._instance.service.name,
                instance=self._instance.id,
                method=request.method,
                path=request.target,
                status=status,
                fault=self._fault,
                bytes_in=len(request.body),
                bytes_out=len(body),
                elapsed_s=now - self._began,
            )
        )

    def _suffer(self, faults: list[Fault]) -> Answer | Deferred[Answer]:
        """Delays add up; the first fault that ends the exchange does."""
        delay_s, rng = 0.0, self._instance.service.world.stream("latency")
        for fault in faults:
            self._fault = fault.name
            if fault.type == "latency":
                delay_s += max(0.0, fault.get("latency") + rng.uniform(-1, 1) * fault.get("jitter")) / 1000
            elif fault.type != "refuse":
                return self._after(delay_s, lambda fault=fault: self._end(fault))
        return self._after(delay_s, self._work)

    def _after(self, delay_s: float, then: Any) -> Answer | Deferred[Answer]:
        if delay_s <= 0:
            return then()  # type: ignore[no-any-return]
        waiting: Deferred[Answer] = Deferred(lambda _: timer.cancel())
        timer = self._reactor.callLater(delay_s, waiting.callback, None)
        waiting.addCallback(lambda _: then())
        return waiting.addErrback(self._left)

    def _left(self, failure: Any) -> Answer:
        """The client hung up while its request was delayed."""
        from twisted.internet.defer import CancelledError  # noqa: PLC0415

        failure.trap(CancelledError)
        self.note(0, b"")
        return HANG

    def _end(self, fault: Fault) -> Answer:
        if fault.type == "http_status":
            headers = {} if fault.get("retry_after") is None else {"Retry-After": f"{fault.get('retry_after'):g}"}
            return self._answer(Response(fault.get("code"), fault.get("body").encode(), "text/plain", headers))
        self.note(0, b"")
        timeout_s = fault.get("timeout") / 1000
        connection = self._request.connection
        if fault.type == "reset_peer":
            _later(self._reactor, timeout_s, connection, connection.reset)
        elif timeout_s:
            _later(self._reactor, timeout_s, connection, connection.close)
        return HANG

    def _work(self) -> Answer | Deferred[Answer]:
        problem = self._problem()
        if problem is not None:
            return self._answer(problem)
        try:
            result = self._instance.service.processor(self._request.body)
        except Exception as error:  # noqa: BLE001  a processor's exception is its caller's 400
            return self._answer(_text(400, str(error) or type(error).__name__))
        if inspect.isawaitable(result):
            later = result if isinstance(result, Deferred) else Deferred.fromCoroutine(result)
            return later.addCallbacks(self._finish, self._raised)
        return self._finish(result)

    def _problem(self) -> Response | None:
        request, service = self._request, self._instance.service
        base = f"/api/predict/{service.name}"
        path = unquote(request.path)
        if path != base and not path.startswith(f"{base}/"):
            return _text(404, f"no such service here: {path}")
        if request.method != "POST":
            return _text(405, f"{request.method} is not allowed; POST is")
        if not is_authorized(request, service.token):
            return _text(401, "Unauthorized: the token is missing or wrong")
        return None

    def _finish(self, result: Any) -> Answer:
        if isinstance(result, str):
            result = result.encode()
        if not isinstance(result, bytes | bytearray | memoryview):
            return self._answer(_text(500, f"the processor answered a {type(result).__name__}, not bytes or text"))
        return self._answer(Response(200, bytes(result)))

    def _raised(self, failure: Any) -> Answer:
        return self._answer(_text(400, failure.getErrorMessage() or failure.type.__name__))

    def _answer(self, response: Response) -> Answer:
        self.note(response.status, response.body)
        if self._instance.state is State.DRAINING:
            return Response(response.status, response.body, response.content_type, response.headers, close=True)
        return response


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode(), "text/plain; charset=utf-8")


def _later(reactor: Any, delay_s: float, connection: ServerConnection, act: Any) -> None:
    """Act on a connection after a while, unless it is gone by then."""
    if delay_s <= 0:
        act()
        return
    server = connection.server
    reactor.callLater(delay_s, lambda: act() if connection in server.connections else None)
