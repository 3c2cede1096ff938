"""The limit of a crawl's concurrent calls."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from eas_tw.scrapy.limiter import ConcurrencyLimiter, CrawlStopped
from tests.net.calling import Result


@pytest.mark.parametrize("is_closed", [False, True])
def test_thousands_of_functions_that_end_immediately_all_end(is_closed: bool) -> None:  # noqa: FBT001
    limiter = ConcurrencyLimiter(Clock(), 1)
    running: Deferred[int] = Deferred()
    first = Result(Deferred.fromCoroutine(limiter.run(lambda: running)))
    waiting = [Result(Deferred.fromCoroutine(limiter.run(lambda: fail(ValueError())))) for _ in range(3000)]
    if is_closed:
        limiter.close_after(0.0)
    running.callback(1)
    assert first.value == 1
    assert {type(result.error) for result in waiting} == {CrawlStopped if is_closed else ValueError}
    assert not limiter.is_busy
    again = Result(Deferred.fromCoroutine(limiter.run(lambda: fail(ValueError()))))
    assert (type(again.error), limiter.peak) == (CrawlStopped if is_closed else ValueError, 1)
