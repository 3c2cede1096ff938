"""Callers that wait for the first list of instances."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from eas_tw.net.ready_waiters import ReadyWaiters
from tests.net.calling import Result


@pytest.mark.parametrize("error", [None, ValueError("closed")])
def test_a_wait_may_be_cancelled_by_the_callback_of_another(error: Exception | None) -> None:
    clock = Clock()
    waiters = ReadyWaiters(clock)
    waits = [waiters.wait(30.0, TimeoutError) for _ in range(3)]
    first, second, third = map(Result, waits)
    waits[0].addBoth(lambda _: waits[1].cancel())
    waiters.release(error)
    assert len(first.fired) == len(third.fired) == 1
    assert isinstance(second.error, CancelledError)
    assert not clock.getDelayedCalls()
