"""The next action of a pool with queued attempts, in all small pools, and the estimate of the queue delay."""

from __future__ import annotations

from itertools import product

import pytest

from eas_tw.policy.pooling import PoolAction, QueueDelay, plan


def test_the_action_is_allowed_in_every_small_pool() -> None:
    ranges = (1, 2, 4), range(5), range(5), range(5), range(5), range(4)
    for limit, busy, watched, idle, opening, waiting in product(*ranges):
        total = busy + idle + opening
        if total > limit or watched > busy:
            continue
        todo = plan(idle=idle, open_or_opening=total, opening=opening, watched=watched, waiting=waiting, limit=limit)
        if todo is PoolAction.CONNECT:
            assert total < limit
        elif todo is PoolAction.REPLACE:
            assert idle
            assert total == limit
        elif todo is PoolAction.PREEMPT:
            assert watched == limit
        else:
            assert not 0 < watched == limit
            assert opening > waiting or busy + opening == limit


def test_queue_delay_is_estimated_from_the_time_between_dispatches() -> None:
    queue_delay = QueueDelay()
    now = 0.0
    for _ in range(QueueDelay.ENOUGH):
        queue_delay.turn(now)
        assert queue_delay.wait_s(10) == 0.0
        now += 0.1
    queue_delay.turn(now)
    assert queue_delay.wait_s(10) == pytest.approx(1.0)
    for _ in range(100):
        now += 0.5
        queue_delay.turn(now)
    assert queue_delay.wait_s(10) == pytest.approx(5.0, rel=0.01)


def test_time_with_an_empty_queue_does_not_count() -> None:
    queue_delay = QueueDelay()
    for turn in range(20):
        queue_delay.turn(turn * 0.1)
    queue_delay.pause()
    queue_delay.turn(3600.0)
    queue_delay.turn(3600.1)
    assert queue_delay.wait_s(1) == pytest.approx(0.1)
