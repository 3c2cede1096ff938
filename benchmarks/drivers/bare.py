"""Benchmark driver: a bare httptools protocol on Twisted's epoll reactor.

It has no feature of a client, so its figure is the least that any Twisted client can cost.
"""

from httptools import HttpResponseParser
from measuring import Account, body_of, options
from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import react

HEAD = b"POST /api/predict/bench HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Loop(Protocol):
    """Send the next request when the response to the last one is complete."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.parser = HttpResponseParser(self)
        self.left = 0
        self.done: Deferred[None] = Deferred()

    def go(self, calls: int) -> "Deferred[None]":
        self.left, self.done = calls, Deferred()
        self.transport.write(self.request)
        return self.done

    def dataReceived(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.left -= 1
        if self.left:
            self.transport.write(self.request)
        else:
            self.done.callback(None)


async def main(reactor: object) -> None:
    given = options()
    ports = [int(port) for port in given.ports.split(",")]
    body = body_of(given.body_bytes)
    request = HEAD % len(body) + body
    loops = [
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", ports[at % len(ports)]), Loop(request))
        for at in range(given.in_flight)
    ]

    async def batch(calls: int) -> None:
        for done in [loop.go(calls // given.in_flight) for loop in loops]:
            await done

    await batch(given.warm_up)
    account = Account()
    await batch(given.calls)
    account.report(given.calls // given.in_flight * given.in_flight)


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
