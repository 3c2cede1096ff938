"""Benchmark driver: events of eas_tw.aio's streams on uvloop, with discovery and signatures."""

import asyncio
import time

import uvloop
from watching import REQUEST, Watch, options, sent_at

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig
from eas_tw.aio import PredictClient


async def main() -> None:
    given = options()
    config = ClientConfig(max_connections_per_instance=max(128, given.streams), timeout_s=60)
    async with PredictClient(
        f"127.0.0.1:{given.port}",
        "bench",
        token="0123456789abcdef",
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        config=config,
    ) as client:
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

        await asyncio.gather(*(read() for _ in range(given.streams)))
        watch.report()


uvloop.run(main())
