"""Bugs of calls through the gateway: what its statuses mean, and what an agent of the program's may do."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from eas_tw.net import agent_fetch
from eas_tw.net.gateway import Gateway
from eas_tw.policy import retry
from eas_tw.policy.retry import RetryPolicy
from tests.simulation.planted.bugs import Patch, bug


@bug("gateway-call", seeds=100)
def answer_before_the_agent_returns_is_lost(patch: Patch) -> None:
    """The attempt is noted when its request has been sent, and what was answered meanwhile belongs to nobody."""

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
def errors_of_an_agent_that_are_no_exceptions_end_nothing(patch: Patch) -> None:
    failed = Gateway._failed

    def look(self: Gateway, attempt: Any, failure: Any) -> None:
        if isinstance(failure.value, Exception):
            failed(self, attempt, failure)

    patch(Gateway, "_failed", look)


@bug("gateway-retry", seeds=100)
def bad_gateway_is_final(patch: Patch) -> None:
    patch(RetryPolicy, "through_gateway", RetryPolicy)


@bug("gateway-retry", seeds=100)
def bad_gateway_costs_an_attempt(patch: Patch) -> None:
    patch(retry, "_NOT_SERVED_COST", 1.0)


@bug("gateway-retry", seeds=100)
def bad_gateway_costs_nothing(patch: Patch) -> None:
    patch(retry, "_NOT_SERVED_COST", 0.0)
