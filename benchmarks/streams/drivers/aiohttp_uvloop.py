"""Benchmark driver: aiohttp on uvloop, which reads lines or pieces; `--events` parses the lines as events.

aiohttp has no parser for server-sent events, so the driver contains one that follows the standard.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import uvloop
from watching import REQUEST, Watch, options, sent_at


class Event(NamedTuple):
    data: str
    event: str
    id: str
    retry: int | None


async def events_of(lines: Any) -> AsyncIterator[Event]:
    data: list[str] = []
    kind = last_id = ""
    retry: int | None = None
    async for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield Event("\n".join(data), kind or "message", last_id, retry)
            data, kind, retry = [], "", None
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            last_id = value
        elif name == "retry" and value.isdigit():
            retry = int(value)


async def main() -> None:
    given = options()
    url = f"http://127.0.0.1:{given.port}/api/predict/bench/v1/chat/completions"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        watch = Watch(given.streams)

        async def read() -> None:
            began, is_first = time.monotonic(), True
            async with session.post(url, json=REQUEST) as response:
                content = response.content
                source = content.iter_any() if given.pieces else events_of(content) if given.events else content
                async for found in source:
                    if isinstance(found, bytes) and not given.pieces and not found.startswith(b"data: "):
                        continue
                    if is_first:
                        is_first = False
                        watch.first(began, sent_at(found.data if given.events else found))
                    else:
                        watch.more()
                watch.ended()

        await asyncio.gather(*(read() for _ in range(given.streams)))
        watch.report()


uvloop.run(main())
