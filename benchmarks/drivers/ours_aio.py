"""Benchmark driver: eas_tw.aio on uvloop, with the default configuration."""

import asyncio

import uvloop
from measuring import Account, body_of, options

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig
from eas_tw.aio import PredictClient


async def main() -> None:
    given = options()
    body = body_of(given.body_bytes)
    config = ClientConfig(auth=given.auth, max_connections_per_instance=max(128, given.in_flight))
    async with PredictClient(
        given.endpoint, "bench", token="0123456789abcdef", endpoint_type=ENDPOINT_TYPE_DIRECT, config=config
    ) as client:

        async def caller(calls: int) -> None:
            for _ in range(calls):
                await client.predict(body)

        async def batch(calls: int) -> None:
            await asyncio.gather(*(caller(calls // given.in_flight) for _ in range(given.in_flight)))

        await batch(given.warm_up)
        account = Account()
        await batch(given.calls)
        account.report(given.calls // given.in_flight * given.in_flight)


uvloop.run(main())
