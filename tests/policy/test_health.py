"""Ejection: which instances are ejected and for how long, and the maximum share of ejected instances."""

from __future__ import annotations

from random import Random

import pytest

from eas_tw.policy.health import Health, HealthChange, HealthPolicy
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome

KEYS = [("10.0.0.1", port) for port in range(1, 7)]
REFUSED = Outcome(AttemptStatus.CONNECT_REFUSED)
TIMEOUT = Outcome(AttemptStatus.ATTEMPT_TIMEOUT)
FAILED = Outcome(AttemptStatus.STATUS, 500)


def health(fleet: int = 6, **policy: object) -> Health:
    made = Health(HealthPolicy(**policy), Random(1))  # type: ignore[arg-type]
    made.set_fleet(KEYS[:fleet])
    return made


def status(code: int) -> Outcome:
    return Outcome(AttemptStatus.STATUS, code)


def test_a_failed_connect_ejects_at_once() -> None:
    """The ejection lasts 1 s, plus jitter of up to 0.5 s."""
    made = health()
    assert made.record(KEYS[0], REFUSED, 100.0) is HealthChange.EJECTED
    assert made.left_out == (KEYS[0],)
    assert made.returning(101.0) == ()
    assert made.returning(101.51) == (KEYS[0],)
    assert made.returning(200.0) == ()


@pytest.mark.parametrize("outcome", [TIMEOUT, status(500), status(503), Outcome(AttemptStatus.LOST)], ids=str)
def test_consecutive_failures_eject(outcome: Outcome) -> None:
    """The fifth consecutive failure ejects the instance for about 30 s."""
    made = health()
    assert [made.record(KEYS[0], outcome, 0.0) for _ in range(5)] == [None] * 4 + [HealthChange.EJECTED]
    assert made.returning(29.9) == ()
    assert made.returning(45.1) == (KEYS[0],)


def test_a_response_resets_the_count_of_failures() -> None:
    made = health()
    for _ in range(10):
        for _ in range(4):
            assert not made.record(KEYS[0], TIMEOUT, 0.0)
        made.record(KEYS[0], ANSWERED, 0.0)


@pytest.mark.parametrize(
    "outcome",
    [status(450), status(429), status(400), Outcome(AttemptStatus.STALE), Outcome(AttemptStatus.CANCELLED)],
    ids=str,
)
def test_outcomes_that_never_eject(outcome: Outcome) -> None:
    """Full queues, rate limits, a caller's mistakes, stale connections and cancelled calls never eject an instance."""
    made = health(eject_after=1)
    assert not any(made.record(KEYS[0], outcome, 0.0) for _ in range(100))


def test_a_probe_ends_or_renews_the_ejection() -> None:
    made = health()
    made.record(KEYS[0], REFUSED, 0.0)
    made.returning(2.0)
    made.probe(KEYS[0], 0.0)
    assert made.record(KEYS[0], REFUSED, 2.0) is HealthChange.EJECTED
    assert made.returning(3.9) == ()
    assert made.returning(5.1) == (KEYS[0],)
    made.probe(KEYS[0], 0.0)
    assert made.record(KEYS[0], ANSWERED, 6.0) is HealthChange.RETURNED
    made.record(KEYS[0], REFUSED, 7.0)
    assert made.returning(8.6) == (KEYS[0],)


def test_one_probe_at_a_time() -> None:
    made = health()
    made.record(KEYS[0], REFUSED, 0.0)
    made.returning(2.0)
    assert list(made.half_open) == [KEYS[0]]
    assert made.left_out == ()
    made.probe(KEYS[0], 0.0)
    assert not made.half_open
    assert made.left_out == (KEYS[0],)
    for outcome in (
        Outcome(AttemptStatus.CANCELLED),
        Outcome(AttemptStatus.QUEUE_TIMEOUT),
        Outcome(AttemptStatus.STALE),
    ):
        assert made.record(KEYS[0], outcome, 3.0, began=0.0) is HealthChange.UNDECIDED
        assert list(made.half_open) == [KEYS[0]]
        made.probe(KEYS[0], 0.0)
    assert made.record(KEYS[0], status(450), 4.0) is HealthChange.RETURNED
    assert made.left_out == ()


def test_only_calls_sent_after_the_ejection_end_the_probe() -> None:
    made = health()
    made.record(KEYS[0], REFUSED, 0.0)
    made.returning(2.0)
    made.probe(KEYS[0], 2.0)
    cancelled = Outcome(AttemptStatus.CANCELLED)
    assert made.record(KEYS[0], cancelled, 2.5, began=0.5) is None
    made.resort(KEYS[0], 2.6)
    assert made.record(KEYS[0], Outcome(AttemptStatus.OVERLOADED), 2.6, began=2.6) is None
    assert made.left_out == (KEYS[0],)
    assert made.record(KEYS[0], cancelled, 2.7, began=2.0) is HealthChange.UNDECIDED
    assert list(made.half_open) == [KEYS[0]]


def test_an_older_call_may_decide_before_the_probe_is_sent() -> None:
    made = health(2)
    made.record(KEYS[0], REFUSED, 0.0)
    made.returning(2.0)
    assert made.record(KEYS[0], ANSWERED, 2.0, began=0.0) is HealthChange.RETURNED
    assert not made.half_open
    made.record(KEYS[0], REFUSED, 3.0)
    made.returning(5.0)
    made.record(KEYS[1], REFUSED, 5.0)
    assert made.record(KEYS[0], status(500), 5.0, began=2.9) is HealthChange.KEPT
    assert not made.half_open


def test_the_ejection_of_a_half_open_instance_ends_its_half_open_state() -> None:
    made = health(4)
    made.record(KEYS[0], REFUSED, 0.0)
    made.returning(2.0)
    assert made.eject(KEYS[0], 2.0)
    assert not made.half_open
    assert made.left_out == (KEYS[0],)


def test_an_instance_that_is_probed_counts_as_ejected() -> None:
    made = health(4, eject_after=1)
    for key in KEYS[:2]:
        made.record(key, FAILED, 0.0)
    made.returning(45.0)
    made.probe(KEYS[0], 45.0)
    assert made.record(KEYS[2], FAILED, 45.0) is HealthChange.EJECTED
    assert made.record(KEYS[3], FAILED, 45.0) is HealthChange.OVERFLOW
    assert made.record(KEYS[0], FAILED, 45.0) is HealthChange.EJECTED
    assert set(made.left_out) == {KEYS[0], KEYS[2]}


def test_an_ejection_of_an_outlier_obeys_the_same_bound() -> None:
    made = health(4)
    assert made.eject(KEYS[0], 0.0)
    assert not made.eject(KEYS[0], 0.0)
    assert made.eject(KEYS[1], 0.0)
    assert not made.eject(KEYS[2], 0.0)
    assert made.returning(29.9) == ()
    assert set(made.returning(45.1)) == {KEYS[0], KEYS[1]}


def test_an_ejection_that_is_refused_leaves_no_record() -> None:
    """The records are empty while all instances are well, which makes the calls faster."""
    made = health(2, max_ejected_ratio=0.4)
    assert not made.eject(KEYS[0], 0.0)
    assert not made.records


def test_a_refused_ejection_keeps_the_count_of_failures() -> None:
    made = health(2, max_ejected_ratio=0.4, eject_after=2)
    made.record(KEYS[0], FAILED, 0.0)
    assert not made.eject(KEYS[0], 0.0)
    assert made.record(KEYS[0], FAILED, 0.0) is HealthChange.OVERFLOW


@pytest.mark.parametrize("end", ["cancelled", "alone"])
def test_a_suspicion_that_ends_without_a_result_leaves_no_record(end: str) -> None:
    made = health(2)
    assert made.suspect(KEYS[0], 1.0)
    if end == "cancelled":
        assert made.record(KEYS[0], Outcome(AttemptStatus.CANCELLED), 2.0, 1.0) is HealthChange.CLEARED
    else:
        made.set_fleet(KEYS[:1])
    assert not made.records


def test_ejections_do_not_grow_without_bound() -> None:
    """An ejection lasts at most 60 s plus jitter."""
    made, now = health(), 0.0
    for _ in range(30):
        assert made.record(KEYS[0], REFUSED, now)
        now += 91.0
        assert made.returning(now) == (KEYS[0],)


@pytest.mark.parametrize("fleet", range(2, 7))
@pytest.mark.parametrize(
    "outcome",
    [
        FAILED,
        Outcome(AttemptStatus.LOST),
        Outcome(AttemptStatus.RESPONSE_TRUNCATED),
        TIMEOUT,
        Outcome(AttemptStatus.VIOLATION),
    ],
    ids=str,
)
def test_at_most_half_of_the_instances_are_ejected_by_uncertain_outcomes(fleet: int, outcome: Outcome) -> None:
    made = health(fleet, eject_after=2)
    allowed = fleet // 2
    for key in KEYS[:fleet]:
        assert made.record(key, outcome, 0.0) is None
    found = [made.record(key, outcome, 0.0) for key in KEYS[:fleet]]
    assert found == [HealthChange.EJECTED] * allowed + [HealthChange.OVERFLOW] * (fleet - allowed)
    assert made.ejected == tuple(KEYS[:allowed])
    last = KEYS[fleet - 1]
    assert made.record(last, outcome, 1.0) is None
    assert made.record(last, ANSWERED, 1.0) is None
    made.record(last, outcome, 2.0)
    assert made.record(last, outcome, 2.0) is HealthChange.OVERFLOW


@pytest.mark.parametrize("fleet", range(2, 7))
@pytest.mark.parametrize(
    "attempt_status",
    [AttemptStatus.CONNECT_REFUSED, AttemptStatus.CONNECT_TIMEOUT, AttemptStatus.CONNECT_FAILED],
    ids=str,
)
def test_all_instances_can_be_ejected_by_failed_connects(fleet: int, attempt_status: AttemptStatus) -> None:
    made = health(fleet)
    dead = Outcome(attempt_status)
    assert [made.record(key, dead, 0.0) for key in KEYS[:fleet]] == [HealthChange.EJECTED] * fleet
    assert set(made.ejected) == set(KEYS[:fleet])
    assert set(made.returning(1.6)) == set(KEYS[:fleet])
    for key in KEYS[:fleet]:
        made.probe(key, 1.6)
        assert made.record(key, dead, 1.6, began=1.6) is HealthChange.EJECTED
    assert made.returning(3.5) == ()


def test_failed_connects_count_for_the_bound_on_uncertain_ejections() -> None:
    made = health(4, eject_after=1)
    made.record(KEYS[0], REFUSED, 0.0)
    made.record(KEYS[1], REFUSED, 0.0)
    assert made.record(KEYS[2], FAILED, 0.0) is HealthChange.OVERFLOW
    assert made.record(KEYS[3], REFUSED, 0.0) is HealthChange.EJECTED


@pytest.mark.parametrize("outcome", [REFUSED, FAILED], ids=str)
@pytest.mark.parametrize(("fleet", "ratio"), [(1, 0.5), (1, 1.0), (3, 0.0)])
def test_no_ejection_of_the_only_instance_or_if_switched_off(fleet: int, ratio: float, outcome: Outcome) -> None:
    made = health(fleet, eject_after=1, max_ejected_ratio=ratio)
    assert [made.record(KEYS[0], outcome, 0.0) for _ in range(9)] == [None] * 9
    assert not made.suspect(KEYS[0], 0.0)
    assert made.left_out == ()


def test_a_suspect_gets_no_calls_until_it_responds() -> None:
    made = health(3)
    assert made.suspect(KEYS[0], 1.0)
    assert (made.left_out, made.ejected, made.is_wary) == ((KEYS[0],), (), True)
    assert made.record(KEYS[1], ANSWERED, 1.1) is None
    assert made.record(KEYS[0], Outcome(AttemptStatus.STALE), 1.2, began=1.1) is None
    assert made.record(KEYS[0], ANSWERED, 0.9) is HealthChange.CLEARED
    assert (made.left_out, made.is_wary) == ((), False)
    made.suspect(KEYS[0], 2.0)
    assert made.record(KEYS[0], status(500), 2.5, began=2.0) is HealthChange.CLEARED
    assert made.left_out == ()


@pytest.mark.parametrize(
    "attempt_status", [AttemptStatus.UNRESPONSIVE, AttemptStatus.DEADLINE, AttemptStatus.ATTEMPT_TIMEOUT], ids=str
)
@pytest.mark.parametrize("fleet", range(2, 7))
def test_an_instance_without_a_response_is_ejected_if_another_responds(
    fleet: int, attempt_status: AttemptStatus
) -> None:
    """Only one instance responds, and all others are ejected. The first ejection lasts 1 s, plus jitter."""
    made = health(fleet)
    silent = Outcome(attempt_status)
    for key in KEYS[1:fleet]:
        made.suspect(key, 0.0)
    made.record(KEYS[0], ANSWERED, 0.1)
    found = [made.record(key, silent, 1.0, began=0.0) for key in KEYS[1:fleet]]
    assert found == [HealthChange.EJECTED] * (fleet - 1)
    assert all(made.is_silent(key) for key in KEYS[1:fleet])
    assert set(made.returning(2.6)) == set(KEYS[1:fleet])


@pytest.mark.parametrize(
    "attempt_status", [AttemptStatus.UNRESPONSIVE, AttemptStatus.DEADLINE, AttemptStatus.ATTEMPT_TIMEOUT], ids=str
)
def test_silence_is_uncertain_if_no_other_instance_responds(attempt_status: AttemptStatus) -> None:
    made = health(3)
    made.suspect(KEYS[0], 1.0)
    made.record(KEYS[1], ANSWERED, 0.5)
    made.suspect(KEYS[0], 2.0)
    assert made.record(KEYS[0], Outcome(attempt_status), 6.0, began=1.0) is None
    assert made.left_out == (KEYS[0],)
    assert made.record(KEYS[0], Outcome(attempt_status), 7.0, began=2.0) is HealthChange.CLEARED
    assert made.record(KEYS[2], Outcome(attempt_status), 6.0, began=1.0) is None
    assert made.left_out == ()


def test_an_ejection_ends_when_a_byte_arrives_for_an_overdue_call() -> None:
    """The byte shows that the instance was only slow. After a refused connect, an older response changes nothing."""
    made = health(3)
    made.suspect(KEYS[0], 0.0)
    assert made.watch(KEYS[0], 0.0)
    made.record(KEYS[1], ANSWERED, 0.1)
    assert made.record(KEYS[0], Outcome(AttemptStatus.UNRESPONSIVE), 1.0, began=0.0) is HealthChange.EJECTED
    assert made.record(KEYS[0], ANSWERED, 3.0, began=0.0) is HealthChange.RETURNED
    assert (made.left_out, made.next_return) == ((), None)
    made.record(KEYS[0], REFUSED, 4.0)
    assert made.record(KEYS[0], ANSWERED, 4.1, began=3.9) is None
    assert made.ejected == (KEYS[0],)


def test_the_response_to_a_last_resort_call_ends_the_ejection() -> None:
    made = health(2)
    for key in KEYS[:2]:
        made.record(key, REFUSED, 0.0)
    made.resort(KEYS[0], 0.5)
    assert made.left_out == (KEYS[1], KEYS[0])
    assert made.record(KEYS[0], ANSWERED, 0.5) is HealthChange.RETURNED
    assert made.left_out == (KEYS[1],)


def test_suspicion_ends_with_the_last_call_that_could_decide() -> None:
    """Two overdue calls and a watched attempt are cancelled, so there is no reason to suspect the instance any more."""
    made = health(3)
    cancelled = Outcome(AttemptStatus.CANCELLED)
    assert made.suspect(KEYS[0], 0.0)
    assert not made.suspect(KEYS[0], 0.2)
    assert made.watch(KEYS[0], 0.2)
    assert not made.watch(KEYS[0], 0.0)
    assert made.record(KEYS[0], cancelled, 1.0, began=0.0) is None
    assert made.record(KEYS[0], cancelled, 1.0, began=0.2) is None
    assert made.left_out == (KEYS[0],)
    assert made.unwatch(KEYS[0], 0.2) is HealthChange.CLEARED
    assert made.left_out == ()


@pytest.mark.parametrize(
    "attempt_status", [AttemptStatus.CANCELLED, AttemptStatus.DEADLINE, AttemptStatus.LOST], ids=str
)
@pytest.mark.parametrize("began", [(1.0, 0.5), (0.5, 1.0), (1.0, 1.0)], ids=str)
def test_an_instance_is_no_suspect_after_its_overdue_calls_have_ended(
    began: tuple[float, float], attempt_status: AttemptStatus
) -> None:
    made = health(3)
    for sent in began:
        made.suspect(KEYS[0], sent)
    for sent in began:
        made.record(KEYS[0], Outcome(attempt_status), 2.0, began=sent)
    assert made.left_out == ()


@pytest.mark.parametrize(
    "attempt_status", [AttemptStatus.CANCELLED, AttemptStatus.DEADLINE, AttemptStatus.LOCAL_RESOURCE], ids=str
)
@pytest.mark.parametrize("is_overdue", [False, True])
def test_a_last_resort_counts_once(attempt_status: AttemptStatus, *, is_overdue: bool) -> None:
    """Regression: a call that was sent to a suspect as a last resort was counted twice, or its end was not counted."""
    made = health(3)
    made.suspect(KEYS[0], 0.0)
    made.resort(KEYS[0], 0.5)
    if is_overdue:
        made.suspect(KEYS[0], 0.5)
    for sent in (0.0, 0.5):
        made.record(KEYS[0], Outcome(attempt_status), 2.0, began=sent)
    assert made.left_out == ()


def test_a_call_from_before_a_probe_does_not_prolong_it() -> None:
    """Only calls that were sent after the start of the probe decide about it."""
    made = health(3)
    made.record(KEYS[0], REFUSED, 1.0)
    made.returning(3.0)
    made.probe(KEYS[0], 3.0)
    assert not made.watch(KEYS[0], 0.5)
    assert made.record(KEYS[0], Outcome(AttemptStatus.CANCELLED), 4.0, began=3.0) is HealthChange.UNDECIDED
