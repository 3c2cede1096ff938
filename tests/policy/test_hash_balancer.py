"""Balancing by key: rendezvous hashing with bounded load."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw.policy import hash_balancer
from eas_tw.policy.balancing import CallInfo, Excluded
from eas_tw.policy.hash_balancer import HashBalancer
from eas_tw.policy.instances import Instance
from eas_tw.policy.outcomes import ANSWERED

SETTINGS = settings(derandomize=True, deadline=None, max_examples=80)
STEPS = st.lists(st.tuples(st.sampled_from(["keep", "eject", "weigh"]), st.integers(0, 9)), max_size=12)
FLEET = [Instance("10.0.0.1", port) for port in range(1, 11)]
KEYS = [f"user-{number}" for number in range(300)]


def balancer(instances: list[Instance] = FLEET, seed: int = 1, **settings: float) -> HashBalancer:
    made = HashBalancer(Random(seed), **settings)
    made.update(instances)
    return made


def choose(made: HashBalancer, key: str | bytes | None, *excluded: Instance) -> Instance:
    without = Excluded([instance.key for instance in excluded], {}) if excluded else ()
    picked = made.choose(CallInfo(key), without)
    assert picked is not None
    return picked


def places(made: HashBalancer) -> dict[str, int]:
    return {key: choose(made, key).port for key in KEYS}


def test_a_key_goes_to_one_instance_whatever_the_seed_and_the_order_of_the_list() -> None:
    assert places(balancer()) == places(balancer(seed=2)) == places(balancer(FLEET[::-1], seed=3))
    made = balancer()
    assert places(made) == places(made)
    assert set(places(made).values()) == set(range(1, 11))


def test_text_and_its_utf_8_are_the_same_key() -> None:
    made = balancer()
    assert all(choose(made, key) == choose(made, key.encode()) for key in ("user", "Größe", "用户", "\ud800x"[1:]))


def test_without_a_key_calls_go_by_weighted_round_robin() -> None:
    made = balancer([Instance("10.0.0.1", 1, 3), Instance("10.0.0.1", 2, 1)])
    assert Counter(choose(made, None).port for _ in range(400)) == {1: 300, 2: 100}


@pytest.mark.parametrize("gone", [1, 2, 5])
def test_an_ejection_moves_only_the_keys_of_the_ejected_and_their_return_brings_them_back(gone: int) -> None:
    made = balancer()
    before = places(made)
    made.update(FLEET[gone:])
    without = places(made)
    assert {key for key in KEYS if before[key] != without[key]} == {key for key in KEYS if before[key] <= gone}
    made.update(FLEET)
    assert places(made) == before


def test_a_retry_goes_to_the_instance_that_would_have_the_key_without_the_failed_one() -> None:
    made = balancer()
    for key in KEYS[:50]:
        first = choose(made, key)
        second = choose(made, key, first)
        third = choose(made, key, first, second)
        rest = [instance for instance in FLEET if instance != first]
        assert choose(balancer(rest), key) == second
        assert choose(balancer([instance for instance in rest if instance != second]), key) == third


def test_no_instance_is_chosen_when_all_are_excluded() -> None:
    assert balancer().choose(CallInfo("a"), Excluded([instance.key for instance in FLEET], {})) is None
    assert HashBalancer(Random(1)).choose(CallInfo("a"), ()) is None


def test_a_changed_weight_moves_keys_only_to_the_heavier_instance() -> None:
    made = balancer()
    before = places(made)
    made.update([FLEET[0]._replace(weight=3), *FLEET[1:]])
    after = places(made)
    assert {after[key] for key in KEYS if before[key] != after[key]} == {1}
    assert Counter(after.values())[1] > Counter(before.values())[1]
    made.update(FLEET)
    assert places(made) == before


@pytest.mark.parametrize("factor", [1.0, 1.25, 2.0])
def test_a_hot_key_spills_at_the_bound_along_its_own_order(factor: float) -> None:
    """All calls have the same key and none of them ends. No instance gets more calls than its bound."""
    made = balancer(load_factor=factor)
    in_flight: Counter[int] = Counter()
    seen: list[int] = []
    for total in range(200):
        picked = choose(made, "hot")
        assert in_flight[picked.port] <= factor * total / len(FLEET)
        made.started(picked, CallInfo("hot"))
        in_flight[picked.port] += 1
        if picked.port not in seen:
            seen.append(picked.port)
    order = [instance.port for instance in made._order.all("hot")]
    assert seen == order[: len(seen)]
    for instance in FLEET:
        for _ in range(in_flight[instance.port]):
            made.ended(instance, CallInfo("hot"), ANSWERED, 1.0)
    assert choose(made, "hot").port == order[0]
    assert made.in_flight.total == 0


def test_a_heavier_instance_may_have_more_calls_of_a_key() -> None:
    heavy = Instance("10.0.0.1", 1, 9)
    made = balancer([heavy, *FLEET[1:]])
    key = next(key for key in KEYS if choose(made, key) == heavy)
    for _ in range(90):
        made.started(choose(made, key), CallInfo(key))
    assert made.in_flight.of(heavy.key) >= 45


def test_when_no_instance_has_room_the_first_of_the_order_takes_the_call() -> None:
    """All instances below the bound are excluded."""
    made = balancer(FLEET[:2])
    first = choose(made, "a")
    made.started(first, CallInfo("a"))
    other = next(instance for instance in FLEET[:2] if instance != first)
    assert choose(made, "a") == other
    assert choose(made, "a", other) == first


@SETTINGS
@given(
    st.lists(st.tuples(st.sampled_from(["keep", "eject", "weigh"]), st.integers(0, 9)), max_size=12), st.integers(1, 5)
)
def test_after_any_changes_keys_are_where_a_new_client_would_send_them(
    steps: list[tuple[str, int]], weight: int
) -> None:
    made = balancer()
    now = dict(enumerate(FLEET))
    for what, which in steps:
        if what == "eject" and len(now) > 1:
            now.pop(which, None)
        else:
            now[which] = FLEET[which] if what == "keep" else FLEET[which]._replace(weight=weight)
        made.update(list(now.values()))
        fresh = balancer(list(now.values()))
        assert all(choose(made, key) == choose(fresh, key) for key in KEYS[:40])


def test_the_size_of_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_balancer, "_MOST_KEYS", 50)
    monkeypatch.setattr(hash_balancer, "_MOST_PLACES", 100)
    made = balancer()
    expected = places(balancer())
    assert places(made) == expected
    for key in KEYS:
        choose(made, key, FLEET[0])
    assert len(made._first) == 50
    assert len(made._all) <= 10
    assert places(made) == expected
