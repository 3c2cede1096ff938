"""Weighted rendezvous hashing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from hashlib import blake2b
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eas_tw.policy.instances import Instance
from eas_tw.policy.rendezvous import KeyOrder

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)
WEIGHTS = st.lists(st.sampled_from([0.5, 1.0, 1.0, 2.0, 7.0]), min_size=2, max_size=12)
KEYS = [f"user-{number}" for number in range(60)]


def fleet(weights: list[float]) -> list[Instance]:
    return [Instance(f"10.0.{number // 250}.{number % 250}", 80, weight) for number, weight in enumerate(weights)]


def digest_of_1000_keys() -> str:
    """Return a digest of the instances that 1,000 keys choose among 20 instances with three weights."""
    order = KeyOrder(fleet([1.0, 2.0, 0.5, 1.0] * 5))
    chosen = (order.first(f"key {number}") for number in range(1000))
    return blake2b(" ".join(first.address for first in chosen if first).encode(), digest_size=8).hexdigest()


@SETTINGS
@given(WEIGHTS, st.data())
def test_removal_moves_only_the_keys_of_the_removed_instance(weights: list[float], data: st.DataObject) -> None:
    instances = fleet(weights)
    gone = data.draw(st.sampled_from(instances))
    before, after = KeyOrder(instances), KeyOrder([instance for instance in instances if instance != gone])
    for key in KEYS:
        assert [instance for instance in before.all(key) if instance != gone] == after.all(key)


@SETTINGS
@given(WEIGHTS, st.data())
def test_a_new_weight_moves_keys_only_from_or_to_its_instance(weights: list[float], data: st.DataObject) -> None:
    instances = fleet(weights)
    changed = data.draw(st.sampled_from(instances))
    weight = data.draw(st.sampled_from([0.1, 3.0, 20.0]))
    assume(weight != changed.weight)
    before = KeyOrder(instances)
    after = KeyOrder([each._replace(weight=weight) if each == changed else each for each in instances], before)
    for key in KEYS:
        old, new = before.first(key), after.first(key)
        assert old is not None
        assert new is not None
        if old.key != new.key:
            assert (new.key if weight > changed.weight else old.key) == changed.key


@SETTINGS
@given(WEIGHTS, st.randoms(use_true_random=False), st.text())
def test_the_order_of_a_key_does_not_depend_on_the_order_of_the_list(
    weights: list[float], rng: Random, key: str
) -> None:
    instances = fleet(weights)
    shuffled = list(instances)
    rng.shuffle(shuffled)
    order = KeyOrder(instances)
    assert order.all(key) == KeyOrder(shuffled).all(key)
    assert order.first(key) == order.all(key)[0]


@pytest.mark.parametrize("weights", [[1.0] * 10, [1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 5.0]])
def test_shares_are_within_5_percent_of_the_weights(weights: list[float]) -> None:
    instances, keys = fleet(weights), 100_000
    order = KeyOrder(instances)
    counts = Counter(order.first(f"session/{number}") for number in range(keys))
    for instance in instances:
        assert counts[instance] == pytest.approx(keys * instance.weight / sum(weights), rel=0.05)


def test_the_keys_of_a_removed_instance_go_evenly_to_the_rest() -> None:
    instances = fleet([1.0] * 6)
    before, after = KeyOrder(instances), KeyOrder(instances[1:])
    keys = (f"session/{number}" for number in range(60_000))
    moved = Counter(after.first(key) for key in keys if before.first(key) == instances[0])
    assert all(count == pytest.approx(moved.total() / 5, rel=0.1) for count in moved.values())
    assert len(moved) == 5


def test_text_is_hashed_as_utf8_and_weight_0_gets_no_key() -> None:
    instances = fleet([1.0, 1.0, 0.0, 1.0])
    order = KeyOrder(instances)
    assert order.all("é") == order.all("é".encode())
    assert instances[2] not in order.all("é")
    assert KeyOrder([]).first("é") is None
    assert KeyOrder([]).all("é") == []


GOLDEN = "c74c8646abd1b562"
"""If this value changes, an upgrade moves the keys of all users to other instances, whose caches are then cold."""


def test_every_process_and_version_makes_the_same_choices() -> None:
    """The other process has another seed for `hash()`."""
    program = "from tests.policy.test_rendezvous import digest_of_1000_keys; print(digest_of_1000_keys())"
    other = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603
    assert digest_of_1000_keys() == other.stdout.strip() == GOLDEN
