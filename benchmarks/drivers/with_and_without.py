"""Benchmark driver: two clients of one process, with and without `eas_tw.net.read_set`, in alternating batches.

The batches alternate, so that other load on the machine affects both clients equally. The driver prints one line of
JSON: the minimum CPU time per call with and without the read set, in µs, and the median ratio of adjacent batches.
"""

import asyncio
import json
import resource
import statistics
import sys

from measuring import body_of, parser_of_options

_parser = parser_of_options()
_parser.add_argument("--reactor", choices=("epoll", "uvloop"), default="epoll")
_parser.add_argument("--batches", type=int, default=60)
GIVEN = _parser.parse_args()
if GIVEN.reactor == "uvloop":
    import uvloop
    from twisted.internet import asyncioreactor

    _loop = uvloop.new_event_loop()
    asyncio.set_event_loop(_loop)
    asyncioreactor.install(_loop)
else:
    from twisted.internet import epollreactor

    epollreactor.install()

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient
from eas_tw.net import upstream


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main(reactor: object) -> None:
    with_read_set = upstream.with_read_set
    body = body_of(GIVEN.body_bytes)
    clients = []
    for view in (lambda given: given, with_read_set):
        upstream.with_read_set = view
        client = PredictClient(
            GIVEN.endpoint,
            "bench",
            token="0123456789abcdef",
            endpoint_type=ENDPOINT_TYPE_DIRECT,
            reactor=reactor,
            config=ClientConfig(max_connections_per_instance=max(128, GIVEN.in_flight)),
        )
        await client.init()
        clients.append(client)

    async def caller(client: PredictClient, calls: int) -> None:
        for _ in range(calls):
            await client.predict(body)

    async def batch(client: PredictClient) -> float:
        each = max(1, 960 // GIVEN.in_flight)
        began_s = cpu_s()
        await gatherResults([Deferred.fromCoroutine(caller(client, each)) for _ in range(GIVEN.in_flight)])
        return (cpu_s() - began_s) / (each * GIVEN.in_flight) * 1e6

    for client in clients * 3:
        await batch(client)
    found: list[list[float]] = [[], []]
    for number in range(GIVEN.batches):
        for which in (0, 1) if number % 2 else (1, 0):
            found[which].append(await batch(clients[which]))
    for client in clients:
        await client.close()
    ratios = [after / before for before, after in zip(*found, strict=True)]
    print(
        json.dumps({"without_us": min(found[0]), "with_us": min(found[1]), "median_ratio": statistics.median(ratios)}),
        file=sys.stdout,
        flush=True,
    )


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
