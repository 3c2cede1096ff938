"""Run your own program in the simulation, with the real client.

Faults are drawn from a seed. The program has its own checker.

python docs/examples/simulated_service.py [SEED]
"""

from __future__ import annotations

import sys
from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from eas_tw import ENDPOINT_TYPE_DIRECT, EasError, PredictClient
from simulator.virtual.nemesis import draw
from simulator.virtual.reporting.report import account, explain, replay_line
from simulator.virtual.world import World


class Scorer:
    """The program: scores queued items in order, and repeats failed ones."""

    def __init__(self, reactor, client):
        self.reactor, self.client = reactor, client
        self.queue, self.scored = deque(), 0
        self._loop = LoopingCall(self._score_next)
        self._loop.clock = reactor  # the virtual reactor, not the global one

    async def start(self):
        await self.client.init()
        self._loop.start(0.2)

    def put(self, item):
        self.queue.append((self.reactor.seconds(), item))

    def oldest_s(self):
        return self.reactor.seconds() - self.queue[0][0] if self.queue else 0.0

    def _score_next(self):
        if self.queue:
            return Deferred.fromCoroutine(self._score(self.queue.popleft()))
        return None

    async def _score(self, entry):
        try:
            await self.client.predict(entry[1], timeout_s=2.0)
        except EasError:
            self.queue.appendleft(entry)
        else:
            self.scored += 1

    async def stop(self):
        self._loop.stop()
        await self.client.close()


class Simulated:
    """The interface of a program in the simulation: start, check, stop."""

    def start(self, reactor, url, service, token):
        client = PredictClient(
            url,
            service,
            token=token,
            endpoint_type=ENDPOINT_TYPE_DIRECT,
            reactor=reactor,
        )
        self.scorer = Scorer(reactor, client)
        self.put = 0
        return Deferred.fromCoroutine(self.scorer.start())

    def check(self, phase):
        """Called every virtual second; each line that it yields is a violation."""
        if phase == "chaos":
            self.put += 1
            self.scorer.put(f"item {self.put}")
        scored, waiting = self.scorer.scored, len(self.scorer.queue)
        if phase == "quiet" and scored + waiting < self.put - 1:
            yield f"of {self.put} items {scored} are scored and {waiting} wait"
        if phase == "quiet" and self.scorer.oldest_s() > 30:
            yield f"an item has waited for {self.scorer.oldest_s():.0f} s"

    def stop(self):
        return Deferred.fromCoroutine(self.scorer.stop())


def main(seed):
    result = World(draw(seed, "chaos", 0.05), application=Simulated).run()
    if result.violations:
        print("\n".join(explain(result, replay_line(result.plan))))
    print("\n".join(account(result)))
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
