"""The demo's calls, made at a steady rate. Responses of the processors `mnist` and `echo` are checked."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from eas_tw import TFRequest
from simulator.expectations import CallRecord
from simulator.processors.mnist import PIXELS, score

if TYPE_CHECKING:
    from collections.abc import Callable

    from eas_tw import PredictClient

MNIST, ECHO, ANY = "mnist", "echo", "any"
"""Checks of a response: equality with the scores of the image, equality with the request's text, or no check."""


class DemoTraffic:
    """Makes calls at a steady rate.

    Args:
        reactor: Clock of the calls.
        client: Client that makes the calls.
        kind: `MNIST`, `ECHO` or `ANY`.
        record: Called with the record of every call that has ended.
    """

    def __init__(self, reactor: Any, client: PredictClient, kind: str, record: Callable[[CallRecord], None]) -> None:
        self.made = 0
        self._reactor = reactor
        self._client = client
        self._kind = kind
        self._record = record
        self._loop: LoopingCall | None = None
        self._open = 0
        self._idle: Deferred[None] | None = None
        self._began = reactor.seconds()

    def start(self, per_s: float, began: float) -> None:
        """Start calls at a rate.

        Args:
            per_s: Calls per second; 0 for no calls.
            began: Time at which the scenario began, in seconds of the reactor's clock.
        """
        self._began = began
        self._pause()
        if per_s > 0:
            self._loop = LoopingCall.withCount(self._send)
            self._loop.clock = self._reactor
            self._loop.start(1 / per_s)

    def stop(self) -> Deferred[None]:
        """Stop making calls; return a Deferred that fires when the last call has ended."""
        self._pause()
        idle: Deferred[None] = Deferred()
        if self._open:
            self._idle = idle
        else:
            idle.callback(None)
        return idle

    def _pause(self) -> None:
        if self._loop is not None and self._loop.running:
            self._loop.stop()

    def _send(self, missed: int) -> None:
        for _ in range(missed):
            number, self.made = self.made, self.made + 1
            Deferred.fromCoroutine(self._call(number))

    async def _call(self, number: int) -> None:
        began = self._reactor.seconds()
        self._open += 1
        try:
            problem = await self._ask(number)
        except Exception as error:  # noqa: BLE001  with any exception the call counts as lost
            problem = f"{type(error).__name__}: {error}"
        self._record(CallRecord(began - self._began, self._reactor.seconds() - began, problem))
        self._open -= 1
        if self._idle is not None and not self._open:
            self._idle.callback(None)

    async def _ask(self, number: int) -> str:
        """Make one call, and return a description of the error in its response; an empty string if it is correct."""
        if self._kind == MNIST:
            image = [float((number * 7 + pixel) % 16) for pixel in range(PIXELS)]
            request = TFRequest("predict_images")
            request.add_feed("images", [1, PIXELS], TFRequest.DT_FLOAT, image)
            response: Any = await self._client.predict(request)
            return "" if list(response.get_values("scores")) == _rounded(score(image)) else "wrong scores"
        text = f"call {number}"
        answer = str(await self._client.predict(text))
        return "" if answer == text or self._kind == ANY else f"wrong answer: {answer[:40]!r}"


def _rounded(scores: list[float]) -> list[float]:
    """Round scores to float32, the precision of the service's response."""
    return list(struct.unpack(f"<{len(scores)}f", struct.pack(f"<{len(scores)}f", *scores)))
