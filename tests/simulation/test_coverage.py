"""A fixed batch of seeds has no violation, and covers every fault kind and every branch of the retry policy."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from eas_tw.policy.outcomes import AttemptStatus
from simulator.virtual.faults.catalog import KINDS
from simulator.virtual.soaking import Sum
from tests.simulation.reached import Lines, lines_of, reached, text_of

pytestmark = pytest.mark.long
SEEDS = range(90)
_HOURS, _CHUNK = 0.07, 10
_NEVER_IN_A_BATCH = {"answered", "status", "connect_failed", "unsent"}
"""Statuses that are not counted (`answered`) or counted by HTTP status (`status`), or that a batch rarely produces."""

_FILES = [
    *(f"policy/{name}.py" for name in ("cluster", "health", "hedging", "least_loaded", "load", "outliers", "retry")),
    *(f"policy/{name}.py" for name in ("rotation", "selection", "slow_start", "subset")),
    "net/deadlines.py",
]
_NEVER_RUN = {
    "net/deadlines.py": {
        "return",
        "except BaseException:",
        'contain(self._clock.callLater, "a deadline could not be served")',
        "self._purge()",
        "for after_s, queue in list(self._queues.items()):",
        "if not any(queue.stages):",
        "if queue.timer is not None and queue.timer.active():",
        "queue.timer.cancel()",
        "del self._queues[after_s]",
        "self._purge_at = max(_QUEUES_KEPT, 2 * len(self._queues))",
    },
    "policy/cluster.py": {
        "return None",
        "except BaseException:",
        "self._health.set_fleet(self._known)",
        "self._regroup(self._subset, now)",
        "raise",
    },
    "policy/health.py": {"record.state = HealthState.COUNTED", "self._drop_blank(key, record)"},
    "policy/least_loaded.py": {"return len(self._order)", "self._weights.pop(instance.key, None)"},
    "policy/retry.py": {
        'return "DEFAULT_RETRY_ON"',
        "if retry_on is DEFAULT_RETRY_ON:",
        "retry_on = GATEWAY_RETRY_ON",
        "return cls(attempts, retry_on, backoff_base_s, backoff_max_s, frozenset({BAD_GATEWAY}))",
        "not_served = sum(attempt.outcome.status in self.not_served for attempt in history)",
        "spent -= not_served * (1.0 - _NOT_SERVED_COST)",
    },
    "policy/rotation.py": {
        "return len(self._turns)",
        "self._leave(key)",
        "heappush(self._heap, entry)",
        "return 0",
        "added = {instance.key: instance for instance in instances}",
        "kept = (turn.instance for key, turn in self._turns.items() if key not in added)",
        "self.update([*kept, *added.values()])",
        "gone = set(keys)",
        "self.update([turn.instance for key, turn in self._turns.items() if key not in gone])",
        "return self.choose(NO_CALL, ())",
    },
}
"""Lines that the batch never runs, without their comments. The reasons:

- Deadlines: no expired call closes its client. A call handles its own exceptions. The calls of a run have few
  different timeouts and hedge delays, so there are never enough queues to purge.
- Cluster: a client that has a list never applies an empty one.
- Health: no list shrinks to one instance while that instance is a suspect.
- Balancers: instances of weight 0 are removed earlier, and no list names an instance twice. Only tests use the length
  of a balancer. Single instances are added or removed only by tests, and in large fleets (profile `big`).
- Retry: the batch has no calls through the gateway and no copies of a config.
"""


@pytest.fixture(scope="module")
def traced() -> tuple[Sum, Lines]:
    """Run the seeds on at most two processes, and record the lines that ran."""
    total, lines = Sum(), {name: set[int]() for name in _FILES}
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        chunks = [SEEDS[at : at + _CHUNK] for at in range(0, len(SEEDS), _CHUNK)]
        for future in [pool.submit(reached, chunk, "chaos", _HOURS, _FILES) for chunk in chunks]:
            some, seen = future.result()
            total.merge(some)
            for name in _FILES:
                lines[name] |= seen[name]
    return total, lines


@pytest.fixture(scope="module")
def batch(traced: tuple[Sum, Lines]) -> Sum:
    """Return the results of the seeds."""
    return traced[0]


def test_the_batch_has_no_violation(batch: Sum) -> None:
    """A violation here is a new bug: run `python -m simulator simulate` with its seed."""
    assert batch.violations == []
    assert batch.seeds == len(SEEDS)


def test_every_fault_kind_was_injected(batch: Sum) -> None:
    assert set(KINDS) - set(batch.faults) == set()


def test_every_branch_of_the_retry_policy_was_taken(batch: Sum) -> None:
    """Attempts have ended with every status, and every status that is retried has been retried."""
    met = set(batch.attempt_statuses)
    assert {str(attempt_status) for attempt_status in AttemptStatus} - _NEVER_IN_A_BATCH - met == set()
    retried = {"connect_refused", "connect_timeout", "stale", "lost", "cut", "attempt_timeout", "waited", "450", "503"}
    assert retried - set(batch.retries) == set()
    assert {"400", "404", "500", "502"} & met


def test_every_line_of_the_policy_has_run(traced: tuple[Sum, Lines]) -> None:
    seen = traced[1]
    missed = {
        name: {text_of(name, line).partition("  #")[0] for line in lines - seen[name]} - _NEVER_RUN.get(name, set())
        for name, lines in lines_of(_FILES).items()
    }
    assert {name: lines for name, lines in missed.items() if lines} == {}
