"""Call `scorecard_pmml_example` in a loop: the vendor's string example.

EAS_TOKEN=… python string_scorecard.py ENDPOINT [--calls 100]

ENDPOINT is the region's, such as http://pai-eas-vpc.cn-shanghai.aliyuncs.com.
"""

import argparse
import os

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient, StringRequest


async def predict(reactor: object, options: argparse.Namespace) -> None:
    """Predict in a loop, and print."""
    async with PredictClient(
        options.endpoint,
        "scorecard_pmml_example",
        token=os.environ.get("EAS_TOKEN", ""),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    ) as client:
        request = StringRequest(
            '[{"money_credit": 3000000}, {"money_credit": 10000}]'
        )
        for _ in range(options.calls):
            response = await client.predict(request)
            print(response)


def main(reactor: object) -> Deferred[None]:
    """Read the command line, and run `predict`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "endpoint", help="the region's VPC endpoint, or a simulator's URL"
    )
    parser.add_argument(
        "--calls", type=int, default=100, help="how often (default: %(default)s)"
    )
    return Deferred.fromCoroutine(predict(reactor, parser.parse_args()))


if __name__ == "__main__":
    react(main)
