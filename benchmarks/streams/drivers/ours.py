"""Benchmark driver: events of eas_tw's streams on Twisted, with discovery and signatures."""

import time

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react
from watching import REQUEST, Watch, options, sent_at

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient


async def main(reactor: object) -> None:
    given = options()
    config = ClientConfig(max_connections_per_instance=max(128, given.streams), timeout_s=60)
    client = PredictClient(
        f"127.0.0.1:{given.port}",
        "bench",
        token="0123456789abcdef",
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=config,
    )
    async with client:
        watch = Watch(given.streams)

        async def read() -> None:
            began, is_first = time.monotonic(), True
            async with client.stream(REQUEST, path="v1/chat/completions") as stream:
                async for found in stream if given.pieces else stream.events():
                    if is_first:
                        is_first = False
                        watch.first(began, sent_at(found if given.pieces else found.data))
                    else:
                        watch.more()
            watch.ended()

        await gatherResults([Deferred.fromCoroutine(read()) for _ in range(given.streams)])
        watch.report()


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
