"""Benchmark driver: eas_tw with discovery, signatures, weighted balancing, deadlines, retries and counters enabled."""

from measuring import Account, body_of, options
from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient


async def main(reactor: object) -> None:
    given = options()
    body = body_of(given.body_bytes)
    config = ClientConfig(auth=given.auth, max_connections_per_instance=max(128, given.in_flight))
    client = PredictClient(
        given.endpoint,
        "bench",
        token="0123456789abcdef",
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=config,
    )
    async with client:

        async def caller(calls: int) -> None:
            for _ in range(calls):
                await client.predict(body)

        async def batch(calls: int) -> None:
            each = calls // given.in_flight
            await gatherResults([Deferred.fromCoroutine(caller(each)) for _ in range(given.in_flight)])

        await batch(given.warm_up)
        account = Account()
        await batch(given.calls)
        account.report(given.calls // given.in_flight * given.in_flight)
        assert client.counters.failures.total() == 0


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
