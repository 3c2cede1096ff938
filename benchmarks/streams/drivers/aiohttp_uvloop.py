"""Benchmark driver: aiohttp on uvloop, which reads lines, since it has no parser of events."""

import asyncio
import time

import aiohttp
import uvloop
from watching import REQUEST, Watch, options, sent_at


async def main() -> None:
    given = options()
    url = f"http://127.0.0.1:{given.port}/api/predict/bench/v1/chat/completions"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        watch = Watch(given.streams)

        async def read() -> None:
            began, is_first = time.monotonic(), True
            async with session.post(url, json=REQUEST) as response:
                async for found in response.content.iter_any() if given.pieces else response.content:
                    if not given.pieces and not found.startswith(b"data: "):
                        continue
                    if is_first:
                        is_first = False
                        watch.first(began, sent_at(found))
                    else:
                        watch.more()

        await asyncio.gather(*(read() for _ in range(given.streams)))
        watch.report()


uvloop.run(main())
