"""The README's example for Twisted, as a complete program.

python five_lines.py ENDPOINT SERVICE TOKEN
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient


async def main(reactor, endpoint, service, token):
    client = PredictClient(
        endpoint,
        service,
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        print(client.instances)
        print(await client.predict('[{"money_credit": 3000000}]', timeout_s=2.0))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python five_lines.py ENDPOINT SERVICE TOKEN")
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
