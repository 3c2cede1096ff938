"""Weighted round robin: exact shares, stable order, random start."""

from __future__ import annotations

from collections import Counter
from math import gcd
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw.policy.balancing import NO_CALL, Excluded
from eas_tw.policy.instances import Instance
from eas_tw.policy.rotation import Rotation

SETTINGS = settings(derandomize=True, deadline=None, max_examples=150)
weights_lists = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def fleet(*weights: float) -> list[Instance]:
    return [Instance("10.0.0.1", port, weight) for port, weight in enumerate(weights, 1)]


def rotation(instances: list[Instance], seed: int = 1) -> Rotation:
    turning = Rotation(Random(seed))
    turning.update(instances)
    return turning


def choose(turning: Rotation, *excluded: int) -> Instance | None:
    return turning.choose(NO_CALL, Excluded([("10.0.0.1", port) for port in excluded], {}) if excluded else ())


def ports(turning: Rotation, picks: int) -> list[int]:
    picked = [choose(turning) for _ in range(picks)]
    return [instance.port for instance in picked if instance is not None]


@SETTINGS
@given(weights_lists, st.integers(0, 2**32))
def test_shares_are_exact_over_each_cycle(weights: list[int], seed: int) -> None:
    turning = rotation(fleet(*weights), seed)
    shrink = gcd(*weights)
    cycle = sum(weights) // shrink
    picked = ports(turning, 3 * cycle)
    want = Counter({port: weight // shrink for port, weight in enumerate(weights, 1)})
    for start in range(0, 2 * cycle, max(1, cycle // 7)):
        assert Counter(picked[start : start + cycle]) == want


def test_weights_are_interleaved_not_batched() -> None:
    """The instance with weight 3 gets at most four calls in a row."""
    picked = ports(rotation(fleet(1, 3)), 400)
    runs = "".join(map(str, picked)).split("1")
    assert max(map(len, runs)) <= 4


def test_equal_weights_are_plain_round_robin() -> None:
    picked = ports(rotation(fleet(100, 100, 100)), 30)
    assert picked[:27] == picked[3:]
    assert set(picked[:3]) == {1, 2, 3}


def test_the_start_is_random() -> None:
    firsts = Counter(ports(rotation(fleet(1, 1, 1, 1), seed), 1)[0] for seed in range(4000))
    assert all(850 < firsts[port] < 1150 for port in (1, 2, 3, 4))


def test_weight_zero_is_never_picked() -> None:
    assert set(ports(rotation(fleet(0, 5, 0)), 50)) == {2}


def test_an_empty_rotation_returns_none() -> None:
    assert choose(rotation([])) is None


def test_an_excluded_instance_is_skipped_and_is_next_afterwards() -> None:
    turning = rotation(fleet(1, 1, 1), seed=3)
    first, second, third = ports(turning, 3)
    again = choose(turning, first)
    assert again is not None
    assert again.port == second
    assert ports(turning, 2) == [first, third]


def test_an_instance_that_was_often_excluded_does_not_get_all_later_calls() -> None:
    """After 100 retries that skipped it, an instance gets at most one call more than its share."""
    turning = rotation(fleet(1, 1, 1, 1))
    for _ in range(100):
        choose(turning, 1)
    assert 10 <= ports(turning, 40).count(1) <= 11


def test_there_is_no_choice_when_all_instances_are_excluded() -> None:
    turning = rotation(fleet(1, 9))
    assert choose(turning, 1, 2) is None
    assert len(ports(turning, 10)) == 10


def test_a_change_of_the_list_does_not_change_the_order_of_the_other_instances() -> None:
    undisturbed, changed = rotation(fleet(3, 5, 7), seed=8), rotation(fleet(3, 5, 7), seed=8)
    ports(undisturbed, 4)
    ports(changed, 4)
    changed.update([*fleet(3, 5, 7), Instance("10.0.0.2", 9, 4)])
    ports(changed, 3)
    seen = [port for port in ports(changed, 40) if port != 9]
    changed.update(fleet(3, 5, 7))
    follow = ports(undisturbed, 60)
    start = follow.index(seen[0])
    assert any(follow[i : i + len(seen)] == seen for i in range(start, len(follow) - len(seen)))


def test_an_added_instance_gets_its_share_and_no_more() -> None:
    turning = rotation(fleet(10, 10))
    ports(turning, 1000)
    turning.update([*fleet(10, 10), Instance("10.0.0.2", 3, 10)])
    assert Counter(ports(turning, 30)) == Counter({1: 10, 2: 10, 3: 10})


def test_an_instance_that_returns_gets_its_share_and_no_more() -> None:
    instances = fleet(10, 10, 10)
    turning = rotation(instances)
    turning.update(instances[1:])
    assert set(ports(turning, 500)) == {2, 3}
    turning.update([*instances[1:], instances[0]])
    assert Counter(ports(turning, 30)) == Counter({1: 10, 2: 10, 3: 10})


def test_a_new_weight_is_used_immediately() -> None:
    instances = fleet(10, 10)
    turning = rotation(instances)
    ports(turning, 7)
    turning.update([instances[0]._replace(weight=30), instances[1]])
    assert Counter(ports(turning, 400)) == pytest.approx({1: 300, 2: 100}, abs=1)
    turning.update([instances[0]._replace(weight=0), instances[1]])
    assert set(ports(turning, 20)) == {2}


def test_weights_may_be_fractions() -> None:
    assert Counter(ports(rotation(fleet(0.5, 1.5)), 400)) == {1: 100, 2: 300}


def test_shares_stay_exact_after_many_picks() -> None:
    """Shares are exact after 70,000 picks, too."""
    turning = rotation(fleet(1, 2, 4))
    for _ in range(70_000):
        choose(turning)
    assert Counter(ports(turning, 7)) == {1: 1, 2: 2, 3: 4}


class CountedInt(int):
    """An integer that counts comparisons, also those of its sums."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        CountedInt.compared += 1
        return int(self) < int(other)

    def __add__(self, other: int) -> int:
        return CountedInt(int(self) + int(other))


def comparisons_per_pick(instances: int) -> float:
    turning = rotation(fleet(*[7] * instances))
    for turn in turning._turns.values():
        turn.due = CountedInt(turn.due)
    turning._heap = [(turn.due, joined, turn) for _, joined, turn in turning._heap]
    CountedInt.compared = 0
    ports(turning, 200)
    return CountedInt.compared / 200


def test_a_pick_takes_log_n_comparisons() -> None:
    """Comparisons are counted because times depend on the machine. The limit for 4,096 instances is 4 · log2(4,096)."""
    assert 1 <= comparisons_per_pick(4) < 10
    assert 5 < comparisons_per_pick(4096) < 4 * 12


@pytest.mark.parametrize("exponent", range(-30, 31))
@pytest.mark.parametrize("relation", [(1, 1), (1, 2, 4), (3, 1), (0.5, 1.5)], ids=str)
def test_shares_are_exact_at_every_order_of_magnitude(exponent: int, relation: tuple[float, ...]) -> None:
    """Only the ratio of the weights matters, from 1e-30 to 1e30, also after the rotation had other weights."""
    scale = 10.0**exponent
    whole = [round(weight * 2) for weight in relation]
    shrink = gcd(*whole)
    want = {port: weight // shrink * 20 for port, weight in enumerate(whole, 1)}
    # Scaled weights are rounded to floats, so a share may differ by one call.
    turning = rotation(fleet(*(weight * scale for weight in relation)))
    assert Counter(ports(turning, sum(want.values()))) == pytest.approx(want, abs=1)
    turning.update([])
    turning.update(fleet(*relation))
    assert Counter(ports(turning, sum(want.values()))) == want


@pytest.mark.parametrize(
    "weight", [5e-324, 2.3e-308, 1e-310, 1e-20, 1e-3, 1, 2**31 - 1, 1e30, 1.7e308, 10**400], ids=lambda w: str(w)[:9]
)
def test_an_extreme_weight_does_not_affect_later_shares(weight: float) -> None:
    turning = rotation(fleet(0, 0, weight))
    assert ports(turning, 5) == [3] * 5
    heavy = fleet(0, 0, weight)[2]
    turning.update([*fleet(0.5, 0.5), heavy])
    beside = Counter(ports(turning, 1000))
    assert abs(beside[1] - beside[2]) <= 1
    turning.update(fleet(0.5, 0.5))
    assert Counter(ports(turning, 1000)) == {1: 500, 2: 500}
    turning.update(fleet(100, 100))
    assert Counter(ports(turning, 1000)) == {1: 500, 2: 500}


def test_shares_stay_exact_when_the_virtual_time_is_large() -> None:
    """A weight of 1e-30 makes the virtual time of the rotation very large before the weights change."""
    turning = rotation(fleet(1e-30))
    ports(turning, 3)
    turning.update(fleet(1, 2, 4))
    for _ in range(50):
        assert Counter(ports(turning, 7)) == {1: 1, 2: 2, 3: 4}


def test_an_instance_that_cannot_be_added_changes_nothing() -> None:
    turning = rotation(fleet(1, 1))
    spoilt = [Instance("10.0.0.1", 1, 5), Instance("10.0.0.1", 3, float("inf"))]
    with pytest.raises(OverflowError):
        turning.update(spoilt)
    assert len(turning) == 2
    assert Counter(ports(turning, 100)) == {1: 50, 2: 50}


def test_instances_that_leave_and_return_do_not_make_the_heap_grow() -> None:
    instances = fleet(*[1] * 1000)
    turning = rotation(instances)
    for round_ in range(2000):
        at = round_ % 1000
        turning.update([*instances[:at], *instances[at + 1 :]])
        assert len(turning) == 999
        turning.update(instances)
    assert len(turning) == 1000
    assert len(turning._heap) <= 2 * 1000 + 10
    assert set(ports(turning, 1000)) == set(range(1, 1001))


def test_a_new_application_of_an_instance_does_not_change_the_order() -> None:
    undisturbed, changed = rotation(fleet(3, 5), seed=8), rotation(fleet(3, 5), seed=8)
    changed.update([instance._replace(app="canary") for instance in fleet(3, 5)])
    picked = choose(changed)
    assert picked is not None
    assert picked.app == "canary"
    assert [picked.port, *ports(changed, 20)] == ports(undisturbed, 21)


def test_instances_that_are_added_and_removed_one_by_one_get_the_shares_of_a_whole_list() -> None:
    one, two, three = fleet(1, 2, 3)
    turning = Rotation(Random(1))
    turning.add([one, two])
    turning.add([three, two._replace(weight=1)])
    turning.remove([one.key, ("10.9.9.9", 1)])
    picked = [turning.pick() for _ in range(40)]
    assert Counter(instance.port for instance in picked if instance) == {2: 10, 3: 30}
    turning.remove([two.key, three.key])
    assert turning.pick() is None
