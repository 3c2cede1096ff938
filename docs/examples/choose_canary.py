"""Send calls with the header X-Canary to the instances of a canary.

The services of a group share one list; `app` names the service of each instance.

EAS_TOKEN=… python choose_canary.py ENDPOINT shop/ranker shop-ranker-canary
"""

import os
import sys
from collections import Counter
from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient


class CanaryByHeader:
    """Chooses among the instances of one application, by round robin.

    It ignores weights. If no instance of the application is eligible, it returns
    `None`, and the client chooses an instance by weighted round robin.
    """

    def __init__(self, rng, canary):
        self._canary = canary
        self._turn = count(rng.randrange(1000))
        self._canaries = self._others = []

    def update(self, instances):
        self._canaries = [each for each in instances if each.app == self._canary]
        self._others = [each for each in instances if each.app != self._canary]

    def choose(self, call, excluded):
        group = self._canaries if "x-canary" in call.headers else self._others
        free = [each for each in group if each not in excluded]
        return free[next(self._turn) % len(free)] if free else None


async def main(reactor, endpoint, service, canary):
    client = PredictClient(
        endpoint,
        service,
        token=os.environ["EAS_TOKEN"],
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=ClientConfig(balancer=lambda rng: CanaryByHeader(rng, canary)),
    )
    answered = Counter()
    async with client:
        apps = {each.address: each.app for each in client.instances}
        for number in range(40):
            headers = {"X-Canary": "1"} if number % 4 == 0 else None
            async with client.stream(b"[1]", headers=headers) as stream:
                await stream.read()
                answered[apps[stream.instance.address]] += 1
    print(dict(sorted(answered.items())))
    print(client.counters.balancer_fallbacks, "calls by round robin instead")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
