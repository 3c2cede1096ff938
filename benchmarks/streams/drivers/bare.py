"""Benchmark driver: a protocol that counts segments, on Twisted's epoll reactor or with `--uvloop` on uvloop.

It parses nothing, so its figure is the least that a client on this loop can cost.
"""

import asyncio
import sys
import time
from typing import Any

from watching import Watch, options, sent_at

IS_UVLOOP = "--uvloop" in sys.argv
if IS_UVLOOP:
    sys.argv.remove("--uvloop")
REQUEST = b"POST /api/predict/bench HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"
LAST = b"\r\n0\r\n\r\n"


class Counting:
    """The base of both protocols: counts the segments that arrive after the head."""

    def __init__(self, watch: Watch, left: list[int], done: Any) -> None:
        self._watch, self._left, self._done = watch, left, done
        self._is_first = True
        self._began = time.monotonic()

    def received(self, data: bytes) -> None:
        if self._is_first:
            _, found, event = data.partition(b"data: ")
            if found:
                self._is_first = False
                self._watch.first(self._began, sent_at(event))
            return
        self._watch.more()
        if data.endswith(LAST):
            self._watch.ended()
            self._left[0] -= 1
            if not self._left[0]:
                self._done()


async def on_uvloop(port: int, streams: int) -> Watch:
    watch = Watch(streams)
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = [streams]

    class Protocol(Counting, asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(REQUEST)

        data_received = Counting.received

    for _ in range(streams):
        await loop.create_connection(lambda: Protocol(watch, left, lambda: done.set_result(None)), "127.0.0.1", port)
    await done
    return watch


def on_twisted(port: int, streams: int) -> Watch:
    from twisted.internet import epollreactor  # noqa: PLC0415  the environment with uvloop needs no Twisted

    epollreactor.install()
    from twisted.internet import reactor  # noqa: PLC0415
    from twisted.internet.protocol import ClientFactory, Protocol  # noqa: PLC0415

    watch = Watch(streams)  # after the imports, whose memory must not count as memory of streams
    left = [streams]

    class Stream(Counting, Protocol):
        def connectionMade(self) -> None:
            self.transport.write(REQUEST)

        dataReceived = Counting.received

    factory = ClientFactory()
    factory.noisy = False
    factory.buildProtocol = lambda _: Stream(watch, left, reactor.stop)
    for _ in range(streams):
        reactor.connectTCP("127.0.0.1", port, factory)
    reactor.run()
    return watch


def main() -> None:
    given = options()
    if IS_UVLOOP:
        import uvloop  # noqa: PLC0415  only this function needs it

        watch = uvloop.run(on_uvloop(given.port, given.streams))
    else:
        watch = on_twisted(given.port, given.streams)
    watch.report()


main()
