"""Which outcomes are retried and when, and the retry budget."""

from __future__ import annotations

from random import Random

import pytest

from eas_tw.policy.instances import Instance
from eas_tw.policy.outcomes import NEVER_SENT, AttemptResult, AttemptStatus, Outcome
from eas_tw.policy.retry import GiveUp, Options, Retry, RetryBudget, RetryPolicy

A, B, C = (Instance("10.0.0.1", port) for port in (1, 2, 3))
FREE = Options(another=True, sole=False, remaining_s=5.0)


def attempts(*outcomes: Outcome) -> tuple[AttemptResult, ...]:
    return tuple(AttemptResult(instance, outcome, 0.1) for instance, outcome in zip((A, B, C), outcomes, strict=False))


def status(code: int, retry_after_s: float | None = None) -> Outcome:
    return Outcome(AttemptStatus.STATUS, code, retry_after_s=retry_after_s)


def decide(
    *outcomes: Outcome, options: Options = FREE, budget: RetryBudget | None = None, **policy: object
) -> Retry | GiveUp:
    return RetryPolicy(**policy).decide(  # type: ignore[arg-type]
        attempts(*outcomes), options, budget=budget or RetryBudget(0.2, 10.0), now=100.0, rng=Random(1)
    )


RETRIED: dict[Outcome, bool] = {
    Outcome(AttemptStatus.CONNECT_REFUSED): True,
    Outcome(AttemptStatus.CONNECT_TIMEOUT): True,
    Outcome(AttemptStatus.CONNECT_FAILED): True,
    Outcome(AttemptStatus.LOCAL_RESOURCE): True,
    Outcome(AttemptStatus.STALE): True,
    Outcome(AttemptStatus.UNSENT): True,
    Outcome(AttemptStatus.LOST): True,
    Outcome(AttemptStatus.RESPONSE_TRUNCATED): True,
    Outcome(AttemptStatus.ATTEMPT_TIMEOUT): True,
    Outcome(AttemptStatus.QUEUE_TIMEOUT): True,
    Outcome(AttemptStatus.INSTANCE_REMOVED): True,
    Outcome(AttemptStatus.VIOLATION): False,
    Outcome(AttemptStatus.OVERLOADED): True,
    Outcome(AttemptStatus.UNRESPONSIVE): False,
    Outcome(AttemptStatus.DEADLINE): False,
    Outcome(AttemptStatus.CANCELLED): False,
    status(400): False,
    status(401): False,
    status(404): False,
    status(405): False,
    status(408): False,
    status(429): False,
    status(429, 0.5): True,
    status(450): True,
    status(499): False,
    status(500): False,
    status(502): False,
    status(503): True,
    status(504): False,
    status(204): False,
    status(302): False,
}


@pytest.mark.parametrize(("outcome", "retried"), RETRIED.items(), ids=str)
def test_the_table_of_outcomes(outcome: Outcome, retried: bool) -> None:  # noqa: FBT001
    assert isinstance(decide(outcome), Retry) is retried


def test_the_table_has_every_attempt_status() -> None:
    assert {outcome.attempt_status for outcome in RETRIED} == set(AttemptStatus) - {AttemptStatus.ANSWERED}


LOCAL = Outcome(AttemptStatus.LOCAL_RESOURCE)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 5000])
def test_a_lack_of_local_resources_is_retried_after_a_pause(n: int) -> None:
    history = tuple(AttemptResult(A, LOCAL, 0.0) for _ in range(n))
    budget = RetryBudget(0.0, 0.0)
    for seed in range(20):
        decision = RetryPolicy(attempts=1).decide(history, FREE, budget=budget, now=100.0, rng=Random(seed))
        assert isinstance(decision, Retry)
        ceiling = min(0.25, 0.025 * 2 ** min(n - 1, 10))
        assert ceiling / 2 <= decision.after_s <= ceiling


def test_a_lack_of_local_resources_has_a_pause_even_without_backoff() -> None:
    assert decide(LOCAL, backoff_base_s=0.0) == Retry(0.01)


def test_a_lack_of_local_resources_does_not_count_as_an_attempt() -> None:
    lost = Outcome(AttemptStatus.LOST)
    assert isinstance(decide(lost, LOCAL, attempts=2), Retry)
    assert decide(LOCAL, lost, LOCAL, attempts=1) == GiveUp("was the last of 3 attempts")


def test_a_lack_of_local_resources_is_not_retried_after_the_deadline() -> None:
    options = Options(another=True, sole=False, remaining_s=0.005)
    assert decide(LOCAL, options=options) == GiveUp("left no time before the deadline")


def test_other_statuses_are_retried_if_configured() -> None:
    """Retries of 408, 500, 502 and 504 can be enabled. Retries of the default statuses can be disabled."""
    for code in (408, 500, 502, 504):
        assert isinstance(decide(status(code), retry_on=frozenset({code})), Retry)
    assert isinstance(decide(status(503), retry_on=frozenset()), GiveUp)


@pytest.mark.parametrize(
    ("another", "sole", "is_at_once"),
    [(True, False, True), (True, True, True), (False, True, False), (False, False, None)],
)
def test_a_retry_needs_another_instance_or_a_sole_one(another: bool, sole: bool, is_at_once: bool | None) -> None:  # noqa: FBT001
    """A retry on another instance is immediate. A retry on the only instance follows a pause."""
    decision = decide(Outcome(AttemptStatus.CONNECT_REFUSED), options=Options(another, sole, 5.0))
    assert (decision.after_s == 0.0 if isinstance(decision, Retry) else None) is is_at_once


def test_only_the_first_failover_is_immediate() -> None:
    """From the second failover on, the pause has full jitter, up to a maximum that doubles."""
    lost = Outcome(AttemptStatus.LOST)
    assert decide(lost) == Retry(0.0)
    pauses = []
    for seed in range(300):
        decision = RetryPolicy().decide(
            attempts(lost, lost), FREE, budget=RetryBudget(1, 1000), now=0.0, rng=Random(seed)
        )
        assert isinstance(decision, Retry)
        pauses.append(decision.after_s)
    assert 0 <= min(pauses) < 0.005
    assert 0.045 < max(pauses) <= 0.05


def test_a_retry_on_the_same_instance_follows_a_pause() -> None:
    """Without a pause, the instance would probably fail again."""
    decision = decide(
        Outcome(AttemptStatus.CONNECT_REFUSED), options=Options(another=False, sole=True, remaining_s=5.0)
    )
    assert isinstance(decision, Retry)
    assert decision.after_s > 0


def test_a_stale_connection_is_retried_at_once() -> None:
    """The instance has not failed, so a pause would not help."""
    stale = Outcome(AttemptStatus.STALE)
    assert decide(Outcome(AttemptStatus.LOST), stale) == Retry(0.0)


def test_a_full_queue_is_retried_on_another_instance_immediately() -> None:
    full = Outcome(AttemptStatus.OVERLOADED)
    assert decide(Outcome(AttemptStatus.LOST), full) == Retry(0.0)


def test_a_stale_connection_does_not_count_as_an_attempt() -> None:
    """A call with `attempts=1` is sent again, because the close of an idle connection is no failure of the instance."""
    stale, unsent = Outcome(AttemptStatus.STALE), Outcome(AttemptStatus.UNSENT)
    assert decide(stale, attempts=1) == Retry(0.0)
    assert decide(unsent, attempts=1) == Retry(0.0)
    assert isinstance(decide(stale, Outcome(AttemptStatus.LOST), attempts=1), GiveUp)


def test_attempts_are_bounded() -> None:
    """The reason in the error contains the number of attempts."""
    lost = Outcome(AttemptStatus.LOST)
    assert decide(lost, lost, lost) == GiveUp("was the last of 3 attempts")
    assert isinstance(decide(lost, attempts=1), GiveUp)


NEVER_REACHED = sorted(NEVER_SENT - {AttemptStatus.UNSENT, AttemptStatus.LOCAL_RESOURCE})


@pytest.mark.parametrize("attempt_status", NEVER_REACHED, ids=str)
@pytest.mark.parametrize("count", range(1, 10))
def test_an_attempt_that_was_never_sent_does_not_count(attempt_status: AttemptStatus, count: int) -> None:
    history = tuple(AttemptResult(Instance("10.0.0.1", n), Outcome(attempt_status), 0.0) for n in range(count))
    broke, policy = RetryBudget(0.0, 0.0), RetryPolicy(attempts=1)
    assert policy.decide(history, FREE, budget=broke, now=0.0, rng=Random(1)) == Retry()
    nowhere = Options(another=False, sole=False, remaining_s=5.0)
    assert isinstance(policy.decide(history, nowhere, budget=broke, now=0.0, rng=Random(1)), GiveUp)


def test_refused_connects_do_not_count_together_with_attempts_that_were_sent() -> None:
    """After five refused connects and two attempts that reached an instance, one of three attempts is left."""
    refused = [AttemptResult(Instance("10.0.0.1", n), Outcome(AttemptStatus.CONNECT_REFUSED), 0.0) for n in range(5)]
    policy, budget = RetryPolicy(), RetryBudget(0.2, 10.0)
    for bad, is_tried in ((2, True), (3, False)):
        history = (*refused, *(AttemptResult(Instance("10.0.0.2", n), status(503), 0.0) for n in range(bad)))
        decision = policy.decide(history, FREE, budget=budget, now=0.0, rng=Random(1))
        assert isinstance(decision, Retry) is is_tried


@pytest.mark.parametrize("attempt_status", NEVER_REACHED, ids=str)
def test_on_the_only_instance_every_attempt_counts(attempt_status: AttemptStatus) -> None:
    """Without other instances, only the number of attempts bounds the retries."""
    sole = Options(another=False, sole=True, remaining_s=5.0)
    assert isinstance(decide(*[Outcome(attempt_status)] * 2, options=sole), Retry)
    assert isinstance(decide(*[Outcome(attempt_status)] * 3, options=sole), GiveUp)


def test_a_part_of_the_budget_can_be_reserved() -> None:
    budget = RetryBudget(0.0, 1.0)
    assert [budget.spend(0.0, 0.5) for _ in range(6)] == [True] * 5 + [False]
    assert [budget.spend(0.0) for _ in range(6)] == [True] * 5 + [False]


def test_retry_after_is_followed_only_within_the_deadline() -> None:
    decision = decide(status(429, 2.0))
    assert isinstance(decision, Retry)
    assert decision.after_s >= 2.0
    assert isinstance(decide(status(429, 9.0)), GiveUp)
    alone = Options(another=False, sole=True, remaining_s=5.0)
    assert isinstance(decide(status(503, 5.0), options=alone), GiveUp)
    decision = decide(status(503, 2.0), options=alone)
    assert isinstance(decision, Retry)
    assert decision.after_s >= 2.0


def test_retry_after_of_a_503_does_not_delay_a_retry_on_another_instance() -> None:
    """Status 503 is about the instance that sent it, whereas 429 is a limit of the service."""
    assert decide(status(503, 60.0)) == Retry(0.0)


@pytest.mark.parametrize("outcome", RETRIED, ids=str)
def test_a_call_that_is_not_idempotent_is_retried_only_if_it_was_never_sent(outcome: Outcome) -> None:
    once = Options(another=True, sole=False, remaining_s=5.0, is_idempotent=False)
    decision = decide(outcome, options=once)
    assert isinstance(decision, Retry) == (outcome.attempt_status in NEVER_SENT)


def test_a_rate_limit_is_never_retried_immediately() -> None:
    """There is a pause even after `Retry-After: 0`."""
    decision = decide(status(429, 0.0))
    assert isinstance(decision, Retry)
    assert decision.after_s > 0


def test_the_budget_bounds_retries_of_attempts_that_were_sent() -> None:
    empty = RetryBudget(0.0, 0.0)
    assert isinstance(decide(Outcome(AttemptStatus.LOST), budget=empty), GiveUp)
    assert isinstance(decide(Outcome(AttemptStatus.CONNECT_REFUSED), budget=empty), Retry)


def test_the_budget_is_a_share_of_recent_calls_plus_a_floor() -> None:
    """The budget is 20 % of the calls of the last 10 s, plus 1 retry a second."""
    budget = RetryBudget(0.2, 1.0)
    for call in range(100):
        budget.record_call(50.0 + call * 0.01)
    assert sum(budget.spend(51.0) for _ in range(100)) == 30
    assert not budget.spend(55.0)
    assert sum(budget.spend(62.5) for _ in range(100)) == 10


def test_a_retry_counts_for_the_budget_for_10_s() -> None:
    budget = RetryBudget(0.0, 1.0)
    spent = [sum(budget.spend(100.0 + second) for _ in range(10)) for second in range(10)]
    assert sum(spent) == 10
