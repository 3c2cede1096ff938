"""Ejection: who is left out, for how long, and never too many."""

from __future__ import annotations

from random import Random

import pytest

from eas_tw.policy.health import Health, HealthPolicy, Verdict
from eas_tw.policy.outcomes import ANSWERED, Condition, Outcome

KEYS = [("10.0.0.1", port) for port in range(1, 7)]
REFUSED = Outcome(Condition.CONNECT_REFUSED)
TIMEOUT = Outcome(Condition.ATTEMPT_TIMEOUT)


def health(fleet: int = 6, **policy: object) -> Health:
    made = Health(HealthPolicy(**policy), Random(1))  # type: ignore[arg-type]
    made.set_fleet(KEYS[:fleet])
    return made


def status(code: int) -> Outcome:
    return Outcome(Condition.STATUS, code)


def test_a_failed_connect_ejects_at_once() -> None:
    """For 1 s, plus up to half of it."""
    made = health()
    assert made.record(KEYS[0], REFUSED, 100.0) is Verdict.EJECTED
    assert made.left_out == (KEYS[0],)
    assert made.returning(101.0) == ()
    assert made.returning(101.51) == (KEYS[0],)
    assert made.returning(200.0) == ()


@pytest.mark.parametrize("outcome", [TIMEOUT, status(500), status(503), Outcome(Condition.LOST)], ids=str)
def test_consecutive_failures_eject(outcome: Outcome) -> None:
    """The fifth in a row ejects, for about 30 s."""
    made = health()
    assert [made.record(KEYS[0], outcome, 0.0) for _ in range(5)] == [None] * 4 + [Verdict.EJECTED]
    assert made.returning(29.9) == ()
    assert made.returning(45.1) == (KEYS[0],)


def test_an_answer_starts_the_count_again() -> None:
    """Failures must be consecutive."""
    made = health()
    for _ in range(10):
        for _ in range(4):
            assert not made.record(KEYS[0], TIMEOUT, 0.0)
        made.record(KEYS[0], ANSWERED, 0.0)


@pytest.mark.parametrize(
    "outcome", [status(450), status(429), status(400), Outcome(Condition.STALE), Outcome(Condition.CANCELLED)], ids=str
)
def test_what_never_ejects(outcome: Outcome) -> None:
    """A full queue, a rate limit, a caller's mistake, a stale connection, a cancel: nothing against an instance."""
    made = health(eject_after=1)
    assert not any(made.record(KEYS[0], outcome, 0.0) for _ in range(100))


def test_the_probe_decides() -> None:
    """After its return one more failure ejects for twice as long, and one answer forgets the past."""
    made = health()
    made.record(KEYS[0], REFUSED, 0.0)
    made.returning(2.0)
    made.probe(KEYS[0], 0.0)
    assert made.record(KEYS[0], REFUSED, 2.0) is Verdict.EJECTED
    assert made.returning(3.9) == ()
    assert made.returning(5.1) == (KEYS[0],)
    made.probe(KEYS[0], 0.0)
    assert made.record(KEYS[0], ANSWERED, 6.0) is Verdict.RETURNED
    made.record(KEYS[0], REFUSED, 7.0)
    assert made.returning(8.6) == (KEYS[0],)


def test_one_probe_at_a_time() -> None:
    """Until the probe's outcome is known the instance is left out; one that tells nothing is followed by another."""
    made = health()
    made.record(KEYS[0], REFUSED, 0.0)
    made.returning(2.0)
    assert list(made.half_open) == [KEYS[0]]
    assert made.left_out == ()
    made.probe(KEYS[0], 0.0)
    assert not made.half_open
    assert made.left_out == (KEYS[0],)
    for outcome in (Outcome(Condition.CANCELLED), Outcome(Condition.WAITED), Outcome(Condition.STALE)):
        assert made.record(KEYS[0], outcome, 3.0) is Verdict.UNDECIDED
        assert list(made.half_open) == [KEYS[0]]
        made.probe(KEYS[0], 0.0)
    assert made.record(KEYS[0], status(450), 4.0) is Verdict.RETURNED
    assert made.left_out == ()


def test_only_those_sent_since_it_is_half_open_end_the_probe() -> None:
    """An older call that is given up says nothing; one that had nowhere else to go may still tell."""
    made = health()
    made.record(KEYS[0], REFUSED, 0.0)
    made.returning(2.0)
    made.probe(KEYS[0], 2.0)
    cancelled = Outcome(Condition.CANCELLED)
    assert made.record(KEYS[0], cancelled, 2.5, began=0.5) is None
    made.resort(KEYS[0])
    assert made.record(KEYS[0], Outcome(Condition.OVERLOADED), 2.6, began=2.6) is None
    assert made.left_out == (KEYS[0],)
    assert made.record(KEYS[0], cancelled, 2.7, began=2.0) is Verdict.UNDECIDED
    assert list(made.half_open) == [KEYS[0]]


def test_an_older_call_may_tell_before_the_probe_is_sent() -> None:
    """Its good answer brings the instance back, and is told; so does a failure when too few would be left."""
    made = health(2)
    made.record(KEYS[0], REFUSED, 0.0)
    made.returning(2.0)
    assert made.record(KEYS[0], ANSWERED, 2.0, began=0.0) is Verdict.RETURNED
    assert not made.half_open
    made.record(KEYS[0], REFUSED, 3.0)
    made.returning(5.0)
    made.record(KEYS[1], REFUSED, 5.0)
    assert made.record(KEYS[0], REFUSED, 5.0, began=2.9) is Verdict.RETURNED
    assert not made.half_open


def test_a_half_open_outlier_is_half_open_no_more() -> None:
    """It is left out, and gets its probe after that."""
    made = health(4)
    made.record(KEYS[0], REFUSED, 0.0)
    made.returning(2.0)
    assert made.eject(KEYS[0], 2.0)
    assert not made.half_open
    assert made.left_out == (KEYS[0],)


def test_a_probe_keeps_its_place_among_those_left_out() -> None:
    """While it runs no other instance is ejected in its place."""
    made = health(4)
    for key in KEYS[:2]:
        made.record(key, REFUSED, 0.0)
    made.returning(2.0)
    made.probe(KEYS[0], 0.0)
    assert made.record(KEYS[2], REFUSED, 2.0) is Verdict.EJECTED
    assert made.record(KEYS[3], REFUSED, 2.0) is None
    assert made.record(KEYS[0], REFUSED, 2.0) is Verdict.EJECTED
    assert set(made.left_out) == {KEYS[0], KEYS[2]}


def test_an_ejection_from_outside_obeys_the_same_bound() -> None:
    """Outliers are left out for as long as failures, and never more than half of the fleet."""
    made = health(4)
    assert made.eject(KEYS[0], 0.0)
    assert not made.eject(KEYS[0], 0.0)
    assert made.eject(KEYS[1], 0.0)
    assert not made.eject(KEYS[2], 0.0)
    assert made.returning(29.9) == ()
    assert set(made.returning(45.1)) == {KEYS[0], KEYS[1]}


def test_ejections_do_not_grow_without_bound() -> None:
    """60 s is the longest, plus jitter."""
    made, now = health(), 0.0
    for _ in range(30):
        assert made.record(KEYS[0], REFUSED, now)
        now += 91.0
        assert made.returning(now) == (KEYS[0],)


@pytest.mark.parametrize(("fleet", "allowed"), [(1, 0), (2, 1), (3, 1), (4, 2), (6, 3)])
def test_at_most_half_is_ejected(fleet: int, allowed: int) -> None:
    """Beyond that an ejection is ignored, and a single instance is never ejected."""
    made = health(fleet)
    assert [made.record(key, REFUSED, 0.0) for key in KEYS[:fleet]].count(Verdict.EJECTED) == allowed
    assert len(made.left_out) == allowed


def test_state_is_kept_across_lists() -> None:
    """A poll with the same instances brings nobody back, and one that has left is forgotten."""
    made = health(4)
    made.record(KEYS[0], REFUSED, 0.0)
    assert made.set_fleet(KEYS[:5]) == ()
    assert made.left_out == (KEYS[0],)
    made.set_fleet(KEYS[1:])
    made.set_fleet(KEYS[:5])
    assert made.left_out == ()


def test_a_smaller_fleet_brings_some_back() -> None:
    """When the fleet shrinks below what is ejected of it, the first to return do so at once."""
    made = health(6)
    for key in KEYS[:3]:
        made.record(key, REFUSED, 0.0)
    assert len(made.set_fleet(KEYS[:4])) == 1
    assert len(made.left_out) == 2


def test_unknown_instances_are_ignored() -> None:
    """A call that ends after its instance left the list changes nothing."""
    assert not health(2).record(KEYS[5], REFUSED, 0.0)
