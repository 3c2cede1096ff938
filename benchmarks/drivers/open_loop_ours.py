"""Benchmark driver: latencies of eas_tw under an open loop, made by the load generator of `eas-tw perf`."""

import json
import time
from typing import Any

from measuring import body_of
from twisted.internet import epollreactor

epollreactor.install()

from open_loop import SHARES, figures, number_of, options
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient
from eas_tw.cli.perf.histogram import Histogram
from eas_tw.cli.perf.in_flight import CallsInFlight, EndedCall
from eas_tw.cli.perf.loops import OpenLoop, Phases
from eas_tw.cli.perf.plan import DEFAULT_MAX_IN_FLIGHT, Load


async def main(reactor: Any) -> None:
    given = options()
    body = body_of(given.body_bytes)
    client = PredictClient(
        given.endpoint,
        "bench",
        token="0123456789abcdef",
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=ClientConfig(timeout_s=60),
    )
    async with client:

        async def caller(calls: int) -> None:
            for _ in range(calls):
                await client.predict(body)

        async def batch(calls: int) -> float:
            """Make calls in a closed loop, and return the number of calls per second."""
            each, began = max(1, calls // given.in_flight), time.monotonic()
            await gatherResults([Deferred.fromCoroutine(caller(each)) for _ in range(given.in_flight)])
            return each * given.in_flight / (time.monotonic() - began)

        async def load(rate: float) -> Histogram:
            latencies = Histogram()

            def ended(call: EndedCall) -> None:
                assert call.error is None, call.error
                latencies.record(call.latency_s)

            calls = CallsInFlight(reactor, lambda: client.predict(body), ended)
            now_s = reactor.seconds()
            phases = Phases(now_s, now_s, now_s, None, number_of(rate, given.seconds))
            await OpenLoop(reactor, calls, Load(DEFAULT_MAX_IN_FLIGHT, rate), phases).run()
            return latencies

        await batch(given.warm_up)
        saturation = given.saturation or await batch(given.calls)
        found = {"saturation_calls_per_s": saturation}
        for share in SHARES:
            found |= figures(share, await load(saturation * share / 100))
    print(json.dumps(found), flush=True)


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
