"""Program that calls a service until its standard input ends, and then prints the results as JSON.

Usage: client.py URL SERVICE TOKEN CALLS_PER_SECOND

At most `OPEN` calls run at a time. So a slow machine makes fewer calls a second, and no call misses its deadline.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient
from tests.patience import PATIENCE_S

reactor: Any = global_reactor
TURNS_PER_S, OPEN = 50, 200


class Caller:
    """Makes calls at a rate, and counts their results."""

    def __init__(self, url: str, service: str, token: str, rate: float) -> None:
        config = ClientConfig(poll_interval_s=0.2, timeout_s=PATIENCE_S, connect_timeout_s=PATIENCE_S, seed=7)
        self.client = PredictClient(
            url, service, token=token, endpoint_type=ENDPOINT_TYPE_DIRECT, reactor=reactor, config=config
        )
        self.rate = rate
        self.calls = self.answered = self.open = 0
        self.lost: list[str] = []
        self.loop = LoopingCall.withCount(self.turn)
        self.idle: Deferred[None] | None = None

    def turn(self, turns: int) -> None:
        for _ in range(min(round(turns * self.rate / TURNS_PER_S), OPEN - self.open)):
            self.calls += 1
            self.open += 1
            Deferred.fromCoroutine(self.call(b"%d" % self.calls))

    async def call(self, body: bytes) -> None:
        try:
            response = await self.client.predict(body)
            self.answered += response.content == body
        except Exception as error:  # noqa: BLE001  whatever it is, the call is lost
            self.lost.append(f"{type(error).__name__}: {error}")
        self.open -= 1
        if self.idle is not None and not self.open:
            self.idle.callback(None)

    async def begin(self) -> None:
        await self.client.init()
        self.loop.start(1 / TURNS_PER_S)
        print("calling", flush=True)

    async def end(self) -> None:
        self.loop.stop()
        if self.open:
            self.idle = Deferred()
            await self.idle
        known = sorted(f"{instance.ip}:{instance.port}" for instance in self.client.instances)
        account = {"calls": self.calls, "answered": self.answered, "lost": self.lost[:5], "instances": known}
        account["failures_at"] = dict(self.client.counters.failures_at)
        await self.client.close()
        print(json.dumps(account), flush=True)
        reactor.stop()


def main() -> None:
    url, service, token, rate = sys.argv[1:]
    caller = Caller(url, service, token, float(rate))

    def wait() -> None:
        sys.stdin.read()
        reactor.callFromThread(lambda: Deferred.fromCoroutine(caller.end()))

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(caller.begin()))
    reactor.callWhenRunning(threading.Thread(target=wait, daemon=True).start)
    reactor.run()


main()
