"""One connection between two protocols that record their callbacks, over loopback or on the virtual network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.logger import LogLevel, globalLogPublisher
from zope.interface import implementer

from simulator.virtual.network.network import Network
from simulator.virtual.network.reactor import VirtualReactor
from simulator.virtual.network.virtual_time import Scheduler

STEP_S = 0.05
"""Seconds between two steps of a story. On loopback, all effects of a step happen within this time."""


class End(Protocol):
    """The protocol of one end: it records its callbacks, and runs the actions that the script attaches to them."""

    def __init__(self, name: str, story: Story) -> None:
        self.name, self.story = name, story
        self.seen: list[Any] = story.seen[name]
        self.on: dict[str, Callable[[End], None]] = story.on.get(name, {})
        self.is_paused = False

    def note(self, what: str) -> None:
        # The kernel's buffer sizes decide how often a producer is paused, so only the first pause and the first resume
        # are recorded.
        if what not in ("pause", "resume") or what not in self.seen:
            self.seen.append(what)
        act = self.on.get(what)
        if act is not None:
            act(self)

    def connectionMade(self) -> None:
        self.story.ends[self.name] = self
        self.note("made")

    def dataReceived(self, data: bytes) -> None:
        # TCP does not keep the boundaries of pieces, so only their total size is recorded.
        if self.seen and isinstance(self.seen[-1], int):
            self.seen[-1] += len(data)
        else:
            self.seen.append(len(data))
        act = self.on.get("data")
        if act is not None:
            act(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.note(f"lost {type(reason.value).__name__}")

    def pauseProducing(self) -> None:
        self.is_paused = True
        self.note("pause")

    def resumeProducing(self) -> None:
        self.is_paused = False
        self.note("resume")

    def stopProducing(self) -> None:
        self.note("stop")

    def raises(self) -> None:
        raise ArithmeticError("a bug of the program")


@implementer(IHalfCloseableProtocol)
class HalfEnd(End):
    def readConnectionLost(self) -> None:  # noqa: N802
        self.note("no more to read")

    def writeConnectionLost(self) -> None:  # noqa: N802
        self.note("no more to write")


class Caller(ClientFactory):
    noisy = False

    def __init__(self, story: Story, end: type[End] | None) -> None:
        self.story, self.end = story, end

    def startedConnecting(self, connector: Any) -> None:
        self.story.connector = connector

    def buildProtocol(self, addr: Any) -> End | None:
        return self.end("client", self.story) if self.end else None

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self.story.seen["client"].append(f"failed {type(reason.value).__name__}")

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        self.story.seen["client"].append(f"over {type(reason.value).__name__}")


class Callee(Factory):
    noisy = False

    def __init__(self, story: Story, end: type[End] | None) -> None:
        self.story, self.end = story, end

    def buildProtocol(self, addr: Any) -> End | None:
        return self.end("server", self.story) if self.end else None


class Story:
    """The script of a connection, and the recorded callbacks of its ends.

    Args:
        steps: Actions that run one after the other, `STEP_S` apart.
        on: For each end, the actions that run inside a callback, by the callback's name.
        client, server: The protocols of the two ends; `None` for a factory that builds no protocol.
        is_listening: Whether the server listens.
        is_cancelled: Whether the client cancels its connection attempt immediately.
    """

    def __init__(
        self,
        *steps: Callable[[Story], Any],
        on: dict[str, dict[str, Callable[[End], None]]] | None = None,
        client: type[End] | None = End,
        server: type[End] | None = End,
        is_listening: bool = True,
        is_cancelled: bool = False,
    ) -> None:
        self.steps, self.on = steps, on or {}
        self.protocols = (client, server)
        self.is_listening = is_listening
        self.is_cancelled = is_cancelled

    def __getitem__(self, name: str) -> End:
        return self.ends[name]

    def begin(self, reactor: Any, ip: str, told: Callable[[], None]) -> None:
        """Schedule the story on a reactor; `told` is called at its end."""
        self.told = told
        self.seen: dict[str, list[Any]] = {"client": [], "server": [], "logged": []}
        self.ends: dict[str, End] = {}
        self.reactor = reactor
        client, server = self.protocols
        self.port = reactor.listenTCP(0, Callee(self, server), interface=ip)
        number = self.port.getHost().port
        globalLogPublisher.addObserver(self.logged)
        if not self.is_listening:
            self.port.stopListening()
        self.connect = lambda: self._connect(ip, number, Caller(self, client))
        reactor.callLater(STEP_S, self._take, 0)

    def _take(self, number: int) -> None:
        """Run a step, and schedule the next one after it, so that a slow machine does not shorten the pause."""
        steps = [lambda _: self.connect(), *self.steps, lambda _: None, lambda _: self.told()]
        steps[number](self)
        if number + 1 < len(steps):
            self.reactor.callLater(STEP_S, self._take, number + 1)

    def _connect(self, ip: str, number: int, caller: Caller) -> None:
        self.reactor.connectTCP(ip, number, caller, timeout=5)
        if self.is_cancelled:
            self.connector.stopConnecting()

    def end(self) -> None:
        """Abort the open ends, and stop listening."""
        globalLogPublisher.removeObserver(self.logged)
        for end in self.ends.values():
            end.on = {}
            if end.transport.connected:
                end.transport.abortConnection()
        if self.is_listening:
            self.port.stopListening()

    def logged(self, event: dict[str, Any]) -> None:
        if event["log_level"] >= LogLevel.error:
            self.seen["logged"].append(type(event["log_failure"].value).__name__)

    def run_on_loopback(self) -> dict[str, list[Any]]:
        """Run the script with the epoll reactor over loopback; return the recorded callbacks by end."""
        reactor: Any = EPollReactor()
        seen: list[dict[str, list[Any]]] = []

        def end() -> None:
            seen.append({name: list(events) for name, events in self.seen.items()})
            self.end()
            reactor.callLater(STEP_S, reactor.stop)

        self.begin(reactor, "127.0.0.1", end)
        reactor.run(installSignalHandlers=False)
        reactor.removeAll()
        reactor._poller.close()
        return seen[0]

    def run_in_memory(self, **conditions: Any) -> dict[str, list[Any]]:
        """Run the script on the virtual network; return the recorded callbacks by end."""
        scheduler = Scheduler(1)
        network = Network(scheduler, **{"latency_s": 0.00001, **conditions})
        told: list[bool] = []
        self.begin(VirtualReactor(network, "127.0.0.1"), "127.0.0.1", lambda: told.append(True))
        assert scheduler.run_until(lambda: bool(told), 10.0)
        seen = {name: list(events) for name, events in self.seen.items()}
        self.end()
        scheduler.run_for(STEP_S)
        assert not scheduler.errors
        assert not network.transports
        assert not scheduler.pending
        return seen
