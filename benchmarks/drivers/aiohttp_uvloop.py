"""Benchmark driver: aiohttp on uvloop, round robin over the instances, without discovery and without signatures."""

import asyncio
from itertools import cycle

import aiohttp
import uvloop
from measuring import Account, body_of, options


async def main() -> None:
    given = options()
    body = body_of(given.body_bytes)
    urls = cycle([f"http://127.0.0.1:{port}/api/predict/bench" for port in given.ports.split(",")])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:

        async def caller(calls: int) -> None:
            for _ in range(calls):
                async with session.post(next(urls), data=body) as response:
                    await response.read()

        async def batch(calls: int) -> None:
            each = calls // given.in_flight
            await asyncio.gather(*(caller(each) for _ in range(given.in_flight)))

        await batch(given.warm_up)
        account = Account()
        await batch(given.calls)
        account.report(given.calls // given.in_flight * given.in_flight)


uvloop.run(main())
