"""Export the metrics of two clients to Prometheus, from the program that uses them.

EAS_TOKEN=… python metrics.py ENDPOINT tcp:9100:interface=127.0.0.1

ENDPOINT is the region's, such as http://pai-eas-vpc.cn-shanghai.aliyuncs.com.
"""

import os
import sys

from prometheus_client.twisted import MetricsResource
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Site

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient
from eas_tw.telemetry.prometheus import PrometheusMetrics


async def main(reactor, endpoint, listen):
    metrics = PrometheusMetrics()
    clients = []
    for service in ("echo", "mnist"):
        token = os.environ["EAS_TOKEN"]
        client = PredictClient(
            endpoint,
            service,
            token=token,
            endpoint_type=ENDPOINT_TYPE_DIRECT,
            reactor=reactor,
        )
        metrics.watch(client)
        clients.append(await client.init())

    root = Resource()
    root.putChild(b"metrics", MetricsResource())
    port = await serverFromString(reactor, listen).listen(Site(root))
    print(f"http://127.0.0.1:{port.getHost().port}/metrics", flush=True)

    for number in range(30):
        await clients[0].predict(f"[{number}]")
    print("30 calls", flush=True)
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
