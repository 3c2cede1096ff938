"""Calls that are retried until their deadline: on each instance once, then on all instances again."""

from __future__ import annotations

from random import Random

import pytest

from eas_tw import AttemptStatus, Instance, Outcome
from eas_tw.policy.outcomes import AttemptResult
from eas_tw.policy.retry import (
    DEFAULT_RETRY_ON,
    GATEWAY_RETRY_ON,
    GiveUp,
    Options,
    Retry,
    RetryBudget,
    RetryPolicy,
)
from tests.queue.peer import QueueHarness

A = Instance("10.0.0.1", 80)


def decide(policy: RetryPolicy, outcome: Outcome, *, count: int = 1, is_idempotent: bool = True) -> Retry | GiveUp:
    history = (AttemptResult(A, outcome, 0.1),) * count
    options = Options(another=False, sole=True, remaining_s=10.0, is_idempotent=is_idempotent)
    return policy.decide(history, options, budget=RetryBudget(0.2, 1000.0), now=0.0, rng=Random(1))


@pytest.mark.parametrize("status", [429, 450, 500, 502, 503, 504])
def test_transient_statuses_are_retried_without_a_bound_on_attempts(status: int) -> None:
    policy = RetryPolicy().until_deadline()
    for count in (1, 3, 100):
        decision = decide(policy, Outcome(AttemptStatus.STATUS, status), count=count)
        assert isinstance(decision, Retry)
        assert 0 <= decision.after_s <= policy.backoff_max_s


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
def test_permanent_statuses_are_not_retried(status: int) -> None:
    assert isinstance(decide(RetryPolicy().until_deadline(), Outcome(AttemptStatus.STATUS, status)), GiveUp)


def test_a_call_that_is_not_idempotent_is_retried_only_if_it_was_not_sent() -> None:
    policy = RetryPolicy().until_deadline()
    for outcome in (Outcome(AttemptStatus.LOST), Outcome(AttemptStatus.STALE), Outcome(AttemptStatus.STATUS, 503)):
        assert isinstance(decide(policy, outcome, is_idempotent=False), GiveUp)
    assert isinstance(decide(policy, Outcome(AttemptStatus.CONNECT_REFUSED), count=50, is_idempotent=False), Retry)


def test_an_explicit_retry_on_and_a_single_attempt_are_not_changed() -> None:
    only_503 = RetryPolicy(retry_on=frozenset({503})).until_deadline()
    assert only_503.retry_on == {503}
    assert RetryPolicy(attempts=1).until_deadline().attempts == 1
    for default in (DEFAULT_RETRY_ON, GATEWAY_RETRY_ON):
        assert RetryPolicy(retry_on=default).until_deadline().retry_on > default


@pytest.mark.parametrize("backoff_base_s", [0.0, 0.025])
def test_a_full_queue_of_the_only_instance_is_tried_again_after_a_pause(backoff_base_s: float) -> None:
    policy = RetryPolicy(backoff_base_s=backoff_base_s).until_deadline()
    for count in (1, 2, 100):
        decision = decide(policy, Outcome(AttemptStatus.OVERLOADED), count=count)
        assert isinstance(decision, Retry)
        assert decision.after_s >= 0.01


def test_a_put_waits_while_the_queue_of_the_only_instance_is_full() -> None:
    """Regression (seed 7, profile chaos): the put was retried without a pause until the stack overflowed."""
    harness = QueueHarness(1, max_connections_per_instance=1, max_waiting=1)
    harness.learn()
    puts = [harness.run(harness.client.put(b"%d" % number)) for number in range(3)]
    indexes = []
    for number in range(3):
        asked = harness.asked()
        indexes.append(asked.body)
        asked.answer(b"%d" % (number + 1))
        harness.reactor.advance(0.25)
    assert indexes == [b"0", b"1", b"2"]
    assert [put.value.index for put in puts] == [1, 2, 3]
    harness.assert_clean()


def test_every_instance_is_tried_before_one_gets_the_call_again() -> None:
    harness = QueueHarness(3)
    harness.learn()
    committing = harness.run(harness.client.commit(1))
    tried = []
    for _ in range(9):
        asked = harness.asked()
        tried.append(asked.wire)
        asked.answer(b"", 503)
        harness.reactor.advance(0.25)
    for round_ in (tried[:3], tried[3:6], tried[6:]):
        assert len(set(map(id, round_))) == 3
    harness.asked().answer()
    assert committing.value is None
    harness.assert_clean()


def test_a_get_that_waits_for_a_frame_does_not_make_its_instance_look_slow() -> None:
    harness = QueueHarness(2, balancer="p2c")
    harness.learn()
    getting = harness.run(harness.client.get(timeout_s=5.0))
    asked = harness.asked()
    harness.reactor.advance(5.0)
    asked.answer(b"", 204)
    assert getting.value == []
    used = set()
    for _ in range(12):
        putting = harness.run(harness.client.put(b"x"))
        asked = harness.asked()
        used.add(id(asked.wire))
        asked.answer(b"1")
        assert putting.value.index == 1
    assert len(used) == 2
    harness.assert_clean()
