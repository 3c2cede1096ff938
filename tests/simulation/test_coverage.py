"""A fixed batch of seeds: no violation, and every kind of fault and every branch of the retry policy has been there."""

from __future__ import annotations

import os

import pytest

from eas_tw.policy.outcomes import Condition
from simulator.virtual.soaking import Sum, soak
from simulator.virtual.troubles import KINDS

SEEDS = range(90)
_NEVER_IN_A_BATCH = {"answered", "status", "cancelled", "overloaded", "connect_failed", "unsent"}
"""Conditions that no attempt ends in, or only with settings that the nemesis does not draw."""


@pytest.fixture(scope="module")
def batch() -> Sum:
    """The seeds, on two processes."""
    return soak(SEEDS, "chaos", 0.07, jobs=min(2, os.cpu_count() or 1), chunk=10, collect=True)


def test_the_batch_finds_nothing(batch: Sum) -> None:
    """Whatever is found here is new: `python -m simulator simulate` with its seed shows it."""
    assert batch.violations == []
    assert batch.seeds == len(SEEDS)


def test_every_kind_of_fault_has_struck(batch: Sum) -> None:
    """All of the table."""
    assert set(KINDS) - set(batch.faults) == set()


def test_every_branch_of_the_retry_policy_was_taken(batch: Sum) -> None:
    """Attempts have ended in every way there is, and every way that is tried again has been."""
    met = set(batch.conditions)
    assert {str(condition) for condition in Condition} - _NEVER_IN_A_BATCH - met == set()
    retried = {"connect_refused", "connect_timeout", "stale", "lost", "cut", "attempt_timeout", "waited", "450", "503"}
    assert retried - set(batch.retries) == set()
    assert {"400", "404", "500", "502"} & met
