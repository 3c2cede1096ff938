"""Benchmark driver: latencies of aiohttp or httpx2 on uvloop under an open loop.

The driver uses the schedule and the histograms of `eas-tw perf`, and measures latencies from the same times.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import cycle

import uvloop
from measuring import body_of
from open_loop import EARLY_S, MOST_CONNECTIONS, SHARES, Schedule, figures, number_of, options

from eas_tw.cli.perf.histogram import Histogram

Send = Callable[[], Awaitable[object]]


@contextlib.asynccontextmanager
async def aiohttp_client(urls: list[str], body: bytes) -> AsyncIterator[Send]:
    import aiohttp  # noqa: PLC0415  each environment has one of the clients

    each = cycle(urls)
    connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS, limit_per_host=MOST_CONNECTIONS // len(urls))
    async with aiohttp.ClientSession(connector=connector) as session:

        async def send() -> None:
            async with session.post(next(each), data=body) as response:
                assert response.status == 200
                await response.read()

        yield send


@contextlib.asynccontextmanager
async def httpx2_client(urls: list[str], body: bytes) -> AsyncIterator[Send]:
    import httpx2  # noqa: PLC0415

    each = cycle(urls)
    limits = httpx2.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS)
    async with httpx2.AsyncClient(limits=limits, timeout=60) as http:

        async def send() -> None:
            response = await http.post(next(each), content=body)
            assert response.status_code == 200

        yield send


class OpenLoop:
    """Starts calls at the times of a schedule, and records their latencies.

    The times are those of `time.monotonic`, because uvloop's `loop.time` counts in milliseconds.
    """

    def __init__(self, send: Send, rate: float, calls: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._schedule = Schedule(time.monotonic(), rate)
        self._next = 0
        self._calls = calls
        self._done = self._loop.create_future()
        self.latencies = Histogram()

    async def run(self) -> Histogram:
        self._send_due()
        await self._done
        return self.latencies

    def _send_due(self) -> None:
        now_s = time.monotonic()
        while self._next < self._calls:
            due_s = self._schedule.time_of(self._next)
            if due_s - EARLY_S > now_s:
                self._loop.call_later(due_s - EARLY_S - now_s, self._send_due)
                return
            self._next += 1
            self._loop.create_task(self._call(min(due_s, time.monotonic()))).add_done_callback(self._ended)

    async def _call(self, due_s: float) -> None:
        await self._send()
        self.latencies.record(time.monotonic() - due_s)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if self._done.done():
            return
        error = task.exception()
        if error is not None:
            self._done.set_exception(error)
        elif len(self.latencies) == self._calls:
            self._done.set_result(None)


async def main() -> None:
    given = options()
    urls = [f"http://127.0.0.1:{port}/api/predict/bench" for port in given.ports.split(",")]
    making = aiohttp_client if given.client == "aiohttp" else httpx2_client
    async with making(urls, body_of(given.body_bytes)) as send:

        async def caller(calls: int) -> None:
            for _ in range(calls):
                await send()

        async def batch(calls: int) -> float:
            each, began = max(1, calls // given.in_flight), time.monotonic()
            await asyncio.gather(*(caller(each) for _ in range(given.in_flight)))
            return each * given.in_flight / (time.monotonic() - began)

        await batch(given.warm_up)
        saturation = given.saturation or await batch(given.calls)
        found = {"saturation_calls_per_s": saturation}
        for share in SHARES:
            rate = saturation * share / 100
            found |= figures(share, await OpenLoop(send, rate, number_of(rate, given.seconds)).run())
    print(json.dumps(found), flush=True)


uvloop.run(main())
