"""The tutorial's program: make calls, and print which instances were tried."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from eas_tw import ENDPOINT_TYPE_DIRECT, EasError, PredictClient


async def main(reactor, endpoint, seconds="30"):
    client = PredictClient(
        endpoint,
        "greeter",
        token="t0ken",
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        print(f"{len(client.instances)} instances")
        for _ in range(int(seconds)):
            lost = 0
            for _ in range(10):
                try:
                    await client.predict("hello")
                except EasError as error:
                    lost += 1
                    print(error)
                await deferLater(reactor, 0.1)
            print("tried:", dict(client.counters.attempts))
            print("retried:", dict(client.counters.retries), "lost:", lost)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python tutorial.py ENDPOINT")
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
