"""Retries through a gateway: which of its statuses are retried, and how they count."""

from __future__ import annotations

import copy
import pickle
from random import Random

import pytest

from eas_tw import ClientConfig
from eas_tw.policy.instances import Instance
from eas_tw.policy.outcomes import AttemptResult, AttemptStatus, Outcome
from eas_tw.policy.retry import DEFAULT_RETRY_ON, GATEWAY_RETRY_ON, GiveUp, Options, Retry, RetryBudget, RetryPolicy

GATEWAY = Instance("gateway.example", 80)
EMPTY = RetryBudget(0.0, 0.0)


def status(code: int) -> Outcome:
    return Outcome(AttemptStatus.STATUS, code)


LOST = Outcome(AttemptStatus.LOST)


def decide(
    *outcomes: Outcome,
    attempts: int = 3,
    retry_on: frozenset[AttemptStatus | int] = DEFAULT_RETRY_ON,
    budget: RetryBudget | None = None,
    is_idempotent: bool = True,
) -> Retry | GiveUp:
    policy = RetryPolicy.through_gateway(attempts, retry_on, 0.025, 0.25)
    history = [AttemptResult(GATEWAY, outcome, 0.1) for outcome in outcomes]
    options = Options(another=False, sole=True, remaining_s=5.0, is_idempotent=is_idempotent)
    return policy.decide(history, options, budget=budget or RetryBudget(0.2, 10.0), now=100.0, rng=Random(1))


def tries(code: int, **options: int) -> int:
    """Return the number of attempts of a call if each attempt ends with this status."""
    n = 1
    while isinstance(decide(*[status(code)] * n, **options), Retry):  # type: ignore[arg-type]
        n += 1
    return n


@pytest.mark.parametrize(("code", "retried"), [(502, True), (503, True), (504, True), (500, False), (501, False)])
def test_a_gateways_502_and_504_are_retried(code: int, retried: bool) -> None:  # noqa: FBT001
    assert isinstance(decide(status(code)), Retry) is retried


def test_a_lost_connection_is_retried() -> None:
    assert isinstance(decide(LOST), Retry)


@pytest.mark.parametrize(("attempts", "of_502", "of_504"), [(1, 1, 1), (2, 8, 2), (3, 12, 3), (5, 20, 5)])
def test_a_502_counts_as_a_quarter_of_an_attempt(attempts: int, of_502: int, of_504: int) -> None:
    """The gateway may choose a crashed instance again. A 504 counts fully, because an instance was busy with the call.

    With `attempts=1`, a call has one attempt whatever the status is.
    """
    assert tries(502, attempts=attempts) == of_502
    assert tries(504, attempts=attempts) == of_504


def test_attempts_with_different_statuses_are_added_up() -> None:
    """The limit is three whole attempts in total, in any order of the statuses."""
    assert isinstance(decide(status(502), status(504), status(502), LOST, status(502)), Retry)
    assert isinstance(decide(status(502), status(504), status(502), LOST, status(504)), GiveUp)


def test_with_an_empty_budget_only_502_is_retried() -> None:
    """A 502 is retried twice. Status 503, status 504 and a lost connection are not retried."""
    assert isinstance(decide(status(502), budget=EMPTY), Retry)
    assert isinstance(decide(status(502), status(502), budget=EMPTY), Retry)
    assert isinstance(decide(status(502), status(502), status(502), budget=EMPTY), GiveUp)
    for outcome in (status(503), status(504), LOST):
        assert isinstance(decide(outcome, budget=EMPTY), GiveUp)


@pytest.mark.parametrize("outcome", [status(502), status(504), LOST])
def test_a_call_that_is_not_idempotent_is_not_retried(outcome: Outcome) -> None:
    assert isinstance(decide(outcome, is_idempotent=False), GiveUp)
    assert isinstance(decide(Outcome(AttemptStatus.CONNECT_REFUSED), is_idempotent=False), Retry)


def test_a_configured_retry_on_is_used_for_a_gateway() -> None:
    assert isinstance(decide(status(502), retry_on=frozenset({503})), GiveUp)
    assert isinstance(decide(status(502), retry_on=ClientConfig(retry_on=set(DEFAULT_RETRY_ON)).retry_on), GiveUp)
    assert isinstance(decide(status(502), retry_on=ClientConfig(retry_on={502}).retry_on), Retry)


def test_copies_of_the_configuration_have_the_default_retry_on() -> None:
    config = ClientConfig()
    for copied in (
        copy.copy(config),
        copy.deepcopy(config),
        pickle.loads(pickle.dumps(config)),  # noqa: S301  our own
        config.but(attempts=5),
    ):
        assert copied.retry_on is DEFAULT_RETRY_ON
    assert {502, 504} == GATEWAY_RETRY_ON - DEFAULT_RETRY_ON
    assert isinstance(decide(status(504), retry_on=ClientConfig(retry_on=config.retry_on | {429}).retry_on), GiveUp)
