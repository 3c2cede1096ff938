"""Benchmark driver: treq with a connection pool, round robin over the instances, without discovery and signatures."""

from itertools import cycle

from measuring import Account, body_of, options
from twisted.internet import epollreactor

epollreactor.install()

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react
from twisted.web.client import Agent, HTTPConnectionPool


async def main(reactor: object) -> None:
    given = options()
    urls = cycle([f"http://127.0.0.1:{port}/api/predict/bench" for port in given.ports.split(",")])
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = 100
    client = HTTPClient(Agent(reactor, pool=pool))

    async def caller(calls: int) -> None:
        for _ in range(calls):
            response = await client.post(next(urls), data=body_of(given.body_bytes))
            await response.content()

    async def batch(calls: int) -> None:
        each = calls // given.in_flight
        await gatherResults([Deferred.fromCoroutine(caller(each)) for _ in range(given.in_flight)])

    await batch(given.warm_up)
    account = Account()
    await batch(given.calls)
    account.report(given.calls // given.in_flight * given.in_flight)
    await pool.closeCachedConnections()


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
