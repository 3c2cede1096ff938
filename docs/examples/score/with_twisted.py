"""Score rows with the client for Twisted.

EAS_TOKEN=… python with_twisted.py ENDPOINT SERVICE
"""

import os
import sys

from twisted.internet import task
from twisted.internet.defer import Deferred

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient
from eas_tw.bulk import ErrorRow, score


async def main(reactor, endpoint, service):
    rows = ({"id": number, "money_credit": 1000 * number} for number in range(1000))
    total = 0

    def sink(output):
        nonlocal total
        if isinstance(output, ErrorRow):
            print(f"row {output.position}: {output.error_type}: {output.message}")
        else:
            total += output["money_credit"]

    async with PredictClient(
        endpoint,
        service,
        token=os.environ.get("EAS_TOKEN", ""),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    ) as client:
        report = await score(rows, sink, client=client, in_flight=32, max_errors=0.1)
    print(f"{report.rows} rows, {report.failed} failed, total {total}")


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
