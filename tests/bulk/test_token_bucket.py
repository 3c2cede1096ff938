"""The limit of rows per second."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from eas_tw.bulk import TokenBucket


@given(st.floats(0.1, 1e5), st.lists(st.floats(0, 2), min_size=1, max_size=200))
def test_no_more_is_taken_than_the_rate_and_one_burst_allow(rate: float, pauses: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate), 0.0, 0
    for pause in pauses:
        now += pause
        while taken < 100_000 and not bucket.take(1, now):
            taken += 1
        assert taken <= now * rate + 1 + 0.05 * rate + 1e-6 * (taken + 1)


@given(st.floats(0.1, 1e4), st.integers(1, 64))
def test_waiting_as_long_as_it_says_is_enough(rate: float, count: int) -> None:
    bucket, now = TokenBucket(rate), 5.0
    for _ in range(50):
        delay_s = bucket.take(count, now)
        if delay_s:
            now += delay_s
            assert bucket.take(count, now) == 0
    assert now - 5 >= 49 * (count - 1e-5) / rate - 0.05


def test_a_late_timer_costs_no_rate_and_a_long_pause_is_not_made_up_for() -> None:
    bucket = TokenBucket(100)
    assert bucket.take(8, 0) == 0
    assert bucket.take(8, 0.1) == 0
    assert abs(bucket.take(8, 0.1) - 0.06) < 1e-6, "2 of 10 tokens are left"
    assert bucket.take(8, 100) == 0
    assert abs(bucket.take(8, 100) - 0.03) < 1e-6, "5 are left, 0.05 s of the rate"


def test_threads_share_a_bucket() -> None:
    bucket = TokenBucket(1e-9)
    taken: list[float] = []
    threads = [threading.Thread(target=lambda: taken.append(bucket.take(1, 0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(not delay_s for delay_s in taken) == 1
