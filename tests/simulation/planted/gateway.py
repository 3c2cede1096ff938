"""Bugs of calls through the gateway: retries of its statuses, and the handling of misbehaving agents."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from eas_tw.net import agent_fetch
from eas_tw.net.gateway import Gateway, _StreamedBody
from eas_tw.policy import retry
from eas_tw.policy.retry import RetryPolicy
from tests.simulation.planted.bugs import Patch, bug


@bug("gateway-call", seeds=100)
def response_before_the_agent_returns_is_lost(patch: Patch) -> None:
    """The attempt is registered after its request was sent, so an earlier response is dropped."""

    def submit(self: Gateway, attempt: Any, *, fresh: bool) -> None:
        posting = Deferred.fromCoroutine(self._post(attempt))
        posting.addCallbacks(partial(self._answered, attempt), partial(self._failed, attempt))
        self._running[attempt] = posting

    patch(Gateway, "submit", submit)


@bug("gateway-call", seeds=100)
def second_end_of_a_body_is_an_error(patch: Patch) -> None:
    end = agent_fetch._Collector._end

    def once(self: Any, result: Any) -> None:
        if self.whole.called:
            raise ValueError("the body has ended")
        end(self, result)

    patch(agent_fetch._Collector, "_end", once)


@bug("gateway-call", seeds=100)
def base_exceptions_of_an_agent_ignored(patch: Patch) -> None:
    failed = Gateway._failed

    def look(self: Gateway, attempt: Any, failure: Any) -> None:
        if isinstance(failure.value, Exception):
            failed(self, attempt, failure)

    patch(Gateway, "_failed", look)


@bug("gateway-retry", seeds=100)
def bad_gateway_not_retried(patch: Patch) -> None:
    patch(RetryPolicy, "through_gateway", RetryPolicy)


@bug("gateway-retry", seeds=100)
def bad_gateway_costs_an_attempt(patch: Patch) -> None:
    patch(retry, "_NOT_SERVED_COST", 1.0)


@bug("gateway-retry", seeds=100)
def bad_gateway_costs_nothing(patch: Patch) -> None:
    patch(retry, "_NOT_SERVED_COST", 0.0)


@bug("gateway-stream", seeds=100)
def broken_stream_of_the_gateway_counts_as_whole(patch: Patch) -> None:
    def lost(self: _StreamedBody, reason: Any = None) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.finished()

    patch(_StreamedBody, "connectionLost", lost)
