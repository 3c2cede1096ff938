"""Print a call and its attempts as spans; needs opentelemetry-sdk.

EAS_TOKEN=… python opentelemetry_client.py ENDPOINT scorecard_pmml_example

ENDPOINT is the region's, such as http://pai-eas-vpc.cn-shanghai.aliyuncs.com.
"""

import os
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient
from eas_tw.telemetry.opentelemetry import OpenTelemetry


async def main(reactor, endpoint, service):
    token = os.environ["EAS_TOKEN"]
    client = PredictClient(
        endpoint,
        service,
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with OpenTelemetry().instrument(client) as traced:
        await traced.predict('[{"money_credit": 3000000}]')


if __name__ == "__main__":
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    trace.set_tracer_provider(provider)
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
