"""Benchmark driver: puts with many in flight, and one watch, with eas_tw on Twisted."""

from measuring import Account, options
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, QueueClient


async def main(reactor: object) -> None:
    given = options()
    async with QueueClient(
        given.url, "bench", token=given.token, endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor
    ) as client:
        sink = client.sink()
        body = b"x" * given.body_bytes
        left = given.frames

        async def caller() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await sink.put(body)

        await sink.put(body)
        await sink.get(timeout_s=0)  # opens the connection
        account = Account()
        for running in [Deferred.fromCoroutine(caller()) for _ in range(given.threads)]:
            await running
        puts = account.per_cpu_s(given.frames)
        account = Account()
        async with sink.watch(auto_commit=True) as watcher:
            seen = 0
            async for _ in watcher:
                seen += 1
                if seen == given.frames:
                    break
            account.report(puts, account.per_cpu_s(given.frames))


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
