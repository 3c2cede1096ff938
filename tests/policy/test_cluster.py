"""The policies of a `Cluster` together: membership, ejection, and choice of instances."""

from __future__ import annotations

import sys
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw.policy.balancing import NO_CALL, CallInfo
from eas_tw.policy.cluster import Cluster, ClusterPolicy, HealthTransition
from eas_tw.policy.health import HealthPolicy
from eas_tw.policy.instances import Added, Instance, Removed
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome
from eas_tw.policy.selection import FIRST, Selection

FLEET = [Instance("10.0.0.1", port) for port in range(1, 7)]
REFUSED = Outcome(AttemptStatus.CONNECT_REFUSED)
CANCELLED = Outcome(AttemptStatus.CANCELLED)


def cluster(instances: list[Instance] = FLEET, **policy: Any) -> Cluster:
    made = Cluster(ClusterPolicy(**policy), Random(1))
    made.apply(instances, 0.0)
    return made


def picks(made: Cluster, count: int = 60, now: float = 0.0, outcome: Outcome = ANSWERED) -> Counter[int]:
    """Make calls one after another; each ends immediately with `outcome`. Return the number of calls by port."""
    found: Counter[int] = Counter()
    for _ in range(count):
        picked = made.choose(FIRST, now)
        assert picked is not None
        made.record(picked, outcome, now + 0.01, now)
        found[picked.port] += 1
    return found


def test_shares_are_equal_and_an_ejected_instance_gets_no_calls() -> None:
    """A refused connect ejects the instance immediately, and `record` returns the transition."""
    made = cluster()
    assert set(picks(made).values()) == {10}
    assert made.record(FLEET[0], REFUSED, 0.0) == [HealthTransition(FLEET[0], True, "connect_refused")]
    assert picks(made)[1] == 0
    assert made.ejected == (FLEET[0].key,)


def test_the_probe_is_one_call() -> None:
    made = cluster()
    made.record(FLEET[0], REFUSED, 0.0)
    chosen = [made.choose(FIRST, 2.0) for _ in range(60)]
    assert chosen.count(FLEET[0]) == 1
    assert made.record(FLEET[0], ANSWERED, 2.0) == [HealthTransition(FLEET[0], False, "answered")]
    assert picks(made, now=2.0)[1] == 10


@pytest.mark.parametrize(
    "outcome", [CANCELLED, Outcome(AttemptStatus.STALE), Outcome(AttemptStatus.QUEUE_TIMEOUT)], ids=str
)
def test_a_probe_without_a_conclusive_outcome_is_repeated(outcome: Outcome) -> None:
    made = cluster()
    made.record(FLEET[0], REFUSED, 0.0)
    for _ in range(3):
        assert [made.choose(FIRST, 2.0) for _ in range(60)].count(FLEET[0]) == 1
        assert made.record(FLEET[0], outcome, 2.0) == []


def test_a_call_tries_every_instance_before_one_twice() -> None:
    """The order is: eligible instances, ejected ones, tried ones on which the call has not failed."""
    made = cluster()
    for instance in FLEET[:3]:
        made.record(instance, REFUSED, 0.0)
    tried: list[tuple[str, int]] = []
    for _ in FLEET:
        picked = made.choose(Selection(tried, tried, NO_CALL), 0.0)
        assert picked is not None
        tried.append(picked.key)
    assert {port for _, port in tried[:3]} == {4, 5, 6}
    assert len(set(tried)) == 6
    again = made.choose(Selection(tried, tried[1:], NO_CALL), 0.0)
    assert again is not None
    assert again.key == tried[0]
    assert made.choose(Selection(tried, tried, NO_CALL), 0.0) is None


def test_a_retry_is_no_probe_while_another_instance_is_eligible() -> None:
    made = cluster(FLEET[:4])
    for instance in FLEET[:3]:
        made.record(instance, REFUSED, 0.0)
    probed = made.choose(FIRST, 2.0)
    assert probed is not None
    for _ in range(5):
        tried = [FLEET[0].key] if probed is FLEET[3] else [probed.key]
        assert made.choose(Selection(tried, tried, NO_CALL), 2.0) is FLEET[3]
    tried = [FLEET[3].key]
    another = made.choose(Selection(tried, tried, NO_CALL), 2.0)
    assert another in FLEET[:3]


def test_a_call_tries_at_most_16_of_200_ejected_instances() -> None:
    fleet = [Instance("10.0.0.1", port) for port in range(1, 201)]
    made = cluster(fleet)
    for at, instance in enumerate(fleet):
        made.record(instance, REFUSED, at / 1000)
    seen: list[tuple[str, int]] = []
    for call in range(12):
        tried: list[tuple[str, int]] = []
        while (picked := made.choose(Selection(tried, tried, NO_CALL), 0.3 + call / 100)) is not None:
            tried.append(picked.key)
        assert len(tried) == 16
        seen += tried
    assert len(set(seen)) == 12 * 16


def test_a_suspect_gets_no_call_while_another_is_eligible() -> None:
    made = cluster(FLEET[:3])
    made.record(FLEET[0], REFUSED, 0.05)
    made.suspect(FLEET[1], 0.0, 0.1)
    assert made.is_wary
    assert set(picks(made, now=0.2)) == {3}
    assert made.ejected == (FLEET[0].key,)
    tried = [FLEET[2].key]
    assert made.choose(Selection(tried, tried, NO_CALL), 0.3) == FLEET[1]
    assert made.record(FLEET[1], ANSWERED, 0.4, 0.3) == []
    assert not made.is_wary
    assert picks(made, now=0.5) == {2: 30, 3: 30}


def test_an_attempt_that_continues_after_its_call_decides_about_ejection() -> None:
    """An instance without a response is ejected after the call has ended, and returns when a response arrives later."""
    made = cluster(FLEET[:3], balancer="p2c")
    picked = made.choose(FIRST, 1.0)
    assert picked is not None
    made.suspect(picked, 1.0, 1.3)
    assert made.watch(picked, 1.0)
    assert made.record(picked, CANCELLED, 1.4, 1.0) == ()
    other = made.choose(FIRST, 1.4)
    assert other is not None
    made.record(other, ANSWERED, 1.41, 1.4)
    late = Outcome(AttemptStatus.UNRESPONSIVE)
    assert made.overheard(picked, late, 2.0, 1.0, is_all=False) == [HealthTransition(picked, True, "silent")]
    assert made.overheard(picked, ANSWERED, 3.0, 1.0, is_all=True) == [HealthTransition(picked, False, "answered")]
    assert made.ejected == ()


def test_an_ejection_beyond_the_bound_is_returned_as_overflow() -> None:
    made = cluster(FLEET[:2], health=HealthPolicy(eject_after=1))
    failed = Outcome(AttemptStatus.STATUS, 500)
    assert made.record(FLEET[0], failed, 0.0) == [HealthTransition(FLEET[0], True, "status 500")]
    assert made.record(FLEET[1], failed, 0.0) == [HealthTransition(FLEET[1], False, "status 500", is_overflow=True)]
    assert made.record(FLEET[1], failed, 0.0) == ()
    made.record(FLEET[1], REFUSED, 45.9)
    assert made.choose(FIRST, 46.0) == FLEET[0]
    assert made.record(FLEET[0], failed, 46.0) == [
        HealthTransition(FLEET[0], False, "status 500", is_overflow=True),
        HealthTransition(FLEET[0], False, "status 500, but too many are left out already"),
    ]


def test_the_only_instance_is_always_chosen() -> None:
    made = cluster(FLEET[:1])
    for _ in range(20):
        made.record(FLEET[0], REFUSED, 0.0)
    assert made.choose(Selection([FLEET[0].key], [FLEET[0].key], NO_CALL), 0.0) == FLEET[0]
    assert made.ejected == ()


def test_a_call_tries_instances_outside_its_subset_before_ejected_ones() -> None:
    made = cluster(subset_size=1)
    (first,) = (instance for instance in FLEET if instance.port in picks(made))
    made.record(first, REFUSED, 0.0)
    tried: list[tuple[str, int]] = []
    for _ in FLEET:
        picked = made.choose(Selection(tried, tried, NO_CALL), 0.0)
        assert picked is not None
        made.record(picked, CANCELLED, 0.0, 0.0)
        tried.append(picked.key)
    assert len(set(tried)) == len(FLEET)
    assert tried[-1] == first.key


def test_an_ejected_instance_of_a_subset_is_replaced() -> None:
    made = cluster(subset_size=2)
    used = set(picks(made))
    assert len(used) == 2
    first = next(instance for instance in FLEET if instance.port in used)
    made.record(first, REFUSED, 0.0)
    now_used = set(picks(made))
    assert len(now_used) == 2
    assert first.port not in now_used
    tried: list[tuple[str, int]] = []
    while (picked := made.choose(Selection(tried, tried, NO_CALL), 0.0)) is not None:
        tried.append(picked.key)
    assert len(set(tried)) == len(tried) == 6


def test_full_instances_are_passed_over_while_another_has_room() -> None:
    made = cluster(max_in_flight_per_instance=2)
    chosen = [made.choose(FIRST, 0.0) for _ in range(12)]
    assert Counter(chosen) == dict.fromkeys(FLEET, 2)
    assert made.choose(FIRST, 0.0) in FLEET
    made.record(FLEET[3], ANSWERED, 0.0, -0.1)
    made.record(FLEET[3], ANSWERED, 0.0, -0.1)
    assert made.choose(FIRST, 0.0) == FLEET[3]


def test_new_instances_start_slowly_and_the_first_list_does_not() -> None:
    made = cluster(FLEET[:2], slow_start_s=10.0)
    assert picks(made, 40) == {1: 20, 2: 20}
    assert made.apply(FLEET[:3], 100.0) == (Added(FLEET[2]),)
    assert picks(made, 210, now=100.0)[3] == pytest.approx(10, abs=2)
    assert picks(made, 60, now=105.0)[3] == pytest.approx(12, abs=2)
    assert picks(made, 60, now=120.0)[3] == pytest.approx(20, abs=2)


def test_an_instance_starts_slowly_when_its_weight_is_no_longer_zero() -> None:
    made = cluster(FLEET[:2], slow_start_s=10.0)
    made.apply([*FLEET[:2], FLEET[2]._replace(weight=0)], 100.0)
    made.apply(FLEET[:3], 150.0)
    assert picks(made, 210, now=150.0)[3] == pytest.approx(10, abs=2)
    assert picks(made, 60, now=170.0)[3] == pytest.approx(20, abs=2)


@pytest.mark.parametrize(("weight", "most"), [(0, 200), (1, 50_000)])
def test_an_ejection_during_the_slow_start_of_thousands_computes_few_shares(weight: int, most: int) -> None:
    made = cluster(FLEET[:3], slow_start_s=10.0)
    made.apply([*FLEET[:3], *(Instance("10.1.0.1", port, weight) for port in range(1, 5001))], 100.0)
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        made.record(FLEET[0], REFUSED, 100.0)
    finally:
        sys.setprofile(None)
    assert calls < most


def test_a_returned_instance_starts_slowly_too() -> None:
    made = cluster(FLEET[:2], slow_start_s=10.0)
    made.record(FLEET[0], REFUSED, 0.0)
    picks(made, 3, now=2.0)
    assert made.ejected == ()
    assert picks(made, 110, now=2.0)[1] == pytest.approx(10, abs=2)


def test_an_instance_that_fails_a_third_of_its_calls_is_ejected() -> None:
    made = cluster(outlier_success_gap=0.2)
    judged: list[HealthTransition] = []
    for call in range(600):
        now = call * 0.02
        picked = made.choose(FIRST, now)
        assert picked is not None
        is_bad = picked == FLEET[4] and call % 3
        outcome = Outcome(AttemptStatus.STATUS, 500) if is_bad else ANSWERED
        judged += made.record(picked, outcome, now + 0.01, now)
    assert judged[0].instance == FLEET[4]
    assert judged[0].is_ejected


@pytest.mark.parametrize(("hold_s", "is_ejected"), [(0.0, True), (5.0, False)])
def test_a_call_that_the_service_may_hold_back_does_not_make_an_outlier(hold_s: float, *, is_ejected: bool) -> None:
    made = cluster(outlier_latency_ratio=3.0)
    judged: list[HealthTransition] = []
    for number in range(600):
        now = number * 0.02
        waiting = CallInfo(now=now, hold_s=hold_s)
        picked = made.choose(Selection((), (), waiting), now)
        assert picked is not None
        judged += made.record(picked, ANSWERED, now + (5.0 if picked == FLEET[4] else 0.01), now, call=waiting)
    assert bool(judged) is is_ejected


def test_with_power_of_two_choices_a_slow_instance_gets_few_calls() -> None:
    made = cluster(balancer="p2c")
    found: Counter[int] = Counter()
    running: list[tuple[float, Instance, CallInfo]] = []
    for number in range(2000):
        now = number * 0.01
        for end, instance, call in [entry for entry in running if entry[0] <= now]:
            running.remove((end, instance, call))
            made.record(instance, ANSWERED, end, call.now, call=call)
        call = CallInfo(now=now)
        picked = made.choose(Selection((), (), call), now)
        assert picked is not None
        found[picked.port] += 1
        running.append((now + (1.0 if picked.port == 1 else 0.1), picked, call))
    assert found[1] < 2000 / 6 / 4


def test_the_state_of_a_removed_instance_is_dropped() -> None:
    made = cluster(slow_start_s=5.0, subset_size=6)
    made.record(FLEET[0], REFUSED, 0.0)
    assert made.apply(FLEET[1:], 0.0) == (Removed(FLEET[0]),)
    assert made.ejected == ()
    assert picks(made)[1] == 0


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60),
    st.sampled_from(["wrr", "p2c"]),
    st.sampled_from([None, 2]),
    st.sampled_from([0.0, 5.0]),
)
def test_an_instance_is_picked_after_any_sequence_of_outcomes(
    steps: list[tuple[int, int]], balancer: str, size: int | None, slow: float
) -> None:
    made = cluster(balancer=balancer, subset_size=size, slow_start_s=slow, max_in_flight_per_instance=3)
    outcomes = [ANSWERED, REFUSED, CANCELLED, Outcome(AttemptStatus.STATUS, 503), Outcome(AttemptStatus.LOST)]
    now = 0.0
    for which, what in steps:
        now += 0.4
        if what == 4 and which:
            made.apply(FLEET[:which], now)
        tried: list[tuple[str, int]] = []
        while (picked := made.choose(Selection(tried, tried, NO_CALL), now)) is not None and picked.key not in tried:
            tried.append(picked.key)
            for transition in made.record(picked, outcomes[(which + what + len(tried)) % 5], now + 0.05, now):
                if transition.is_ejected and transition.why != "connect_refused":
                    assert len(made.ejected) <= len(made.instances) // 2
        assert len(tried) == len(made.instances)
