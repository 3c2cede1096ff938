"""Subsets of large fleets: stable, fair, and of full size while there are eligible instances."""

from __future__ import annotations

from collections import Counter

import pytest

from eas_tw.policy.instances import Instance
from eas_tw.policy.subset import Subset

FLEET = [Instance(f"10.0.{i // 250}.{i % 250}", 50000) for i in range(100)]


def subset(instances: list[Instance], size: int | None = 10, seed: int = 1) -> Subset:
    made = Subset(size, seed)
    made.set_fleet(instances)
    return made


def test_without_a_size_the_subset_has_all_instances() -> None:
    """Instances with weight 0 are not included."""
    fleet = [*FLEET, Instance("10.1.1.1", 1, 0)]
    assert subset(fleet, None).members() == tuple(FLEET)
    assert len(subset(FLEET[:5], 10).members()) == 5


def test_a_process_keeps_its_choice_and_another_makes_another() -> None:
    assert subset(FLEET).members() == subset(FLEET[::-1]).members()
    assert subset(FLEET).members() != subset(FLEET, seed=2).members()


@pytest.mark.parametrize("gone", range(0, 100, 9))
def test_a_removed_instance_changes_only_its_own_place(gone: int) -> None:
    before = set(subset(FLEET).members())
    after = set(subset(FLEET[:gone] + FLEET[gone + 1 :]).members())
    assert len(before - after) == (FLEET[gone] in before)


def test_an_excluded_instance_is_replaced_by_the_next_one() -> None:
    made = subset(FLEET)
    members = made.members()
    out = members[3].key
    others = made.members([out])
    assert len(others) == 10
    assert set(members) - set(others) == {members[3]}
    assert made.members() == members


def test_over_many_processes_membership_is_proportional_to_weight() -> None:
    """Instances of weight 3 are first in three times as many processes as those of weight 1."""
    fleet = [Instance("10.0.0.1", port, 3 if port % 2 else 1) for port in range(1, 21)]
    firsts = Counter(subset(fleet, 1, seed).members()[0].weight for seed in range(4000))
    assert firsts[3] / firsts[1] == pytest.approx(3.0, rel=0.1)
