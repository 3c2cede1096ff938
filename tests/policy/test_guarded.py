"""A faulty balancer of the program does not make a call fail."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from eas_tw.policy.balancers import BadBalancerError, make_balancer
from eas_tw.policy.balancing import CallHeaders, CallInfo, Excluded
from eas_tw.policy.cluster import Cluster, ClusterPolicy
from eas_tw.policy.guarded import BalancerFault
from eas_tw.policy.instances import Instance
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome
from eas_tw.policy.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

FLEET = [Instance("10.0.0.1", port) for port in range(1, 5)]
REFUSED = Outcome(AttemptStatus.CONNECT_REFUSED)


class Scripted:
    """A balancer that proposes what a function returns, and records its calls."""

    def __init__(self, propose: Callable[[Scripted, CallInfo, Collection[Instance]], Any]) -> None:
        self.propose = propose
        self.lists: list[Sequence[Instance]] = []
        self.heard: list[tuple[str, Instance, CallInfo]] = []

    def update(self, instances: Sequence[Instance]) -> None:
        self.lists.append(instances)

    def choose(self, call: CallInfo, excluded: Collection[Instance]) -> Any:
        return self.propose(self, call, excluded)

    def started(self, instance: Instance, call: CallInfo) -> None:
        self.heard.append(("started", instance, call))

    def ended(self, instance: Instance, call: CallInfo, outcome: Outcome, elapsed_s: float) -> None:
        self.heard.append((f"{outcome.label} {elapsed_s:g}", instance, call))


class Guard:
    """A cluster with a scripted balancer, and the balancer faults that it reports."""

    def __init__(self, propose: Callable[..., Any], **policy: Any) -> None:
        self.inner = Scripted(propose)
        self.faults: list[tuple[BalancerFault, BaseException | None]] = []
        self.cluster = Cluster(
            ClusterPolicy(balancer=lambda _: self.inner, **policy),
            Random(1),
            lambda fault, error: self.faults.append((fault, error)),
        )
        self.cluster.apply(FLEET, 0.0)

    def choose(self, *tried: Instance, now: float = 0.0, key: str | None = None) -> tuple[Instance | None, CallInfo]:
        keys, call = [instance.key for instance in tried], CallInfo(key, attempt=len(tried) + 1, now=now)
        return self.cluster.choose(Selection(keys, keys, call), now), call


def first_eligible(self: Scripted, _: CallInfo, excluded: Collection[Instance]) -> Instance | None:
    return next((instance for instance in self.lists[-1] if instance not in excluded), None)


def test_a_proposed_instance_is_chosen_and_its_attempts_are_reported() -> None:
    made = Guard(first_eligible)
    picked, call = made.choose(now=3.0)
    assert picked == FLEET[0]
    made.cluster.record(FLEET[0], ANSWERED, 3.5, 3.0, call=call)
    assert made.inner.heard == [("started", FLEET[0], call), ("answered 0.5", FLEET[0], call)]
    assert made.faults == []


def raise_(error: BaseException) -> Any:
    raise error


class Bewildering:
    """An object that raises at each attribute access."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    ("propose", "fault"),
    [
        (lambda *_: None, BalancerFault.NONE),
        (lambda *_: ("10.0.0.1", 1), BalancerFault.NO_INSTANCE),
        (lambda *_: "10.0.0.1:1", BalancerFault.NO_INSTANCE),
        (lambda *_: Bewildering(), BalancerFault.RAISED),
        (lambda *_: Instance("10.9.9.9", 1), BalancerFault.NOT_ELIGIBLE),
        (lambda *_: raise_(ValueError("no idea")), BalancerFault.RAISED),
        (lambda *_: raise_(SystemExit(1)), BalancerFault.RAISED),
        (lambda *_: raise_(GeneratorExit()), BalancerFault.RAISED),
    ],
)
def test_a_wrong_proposal_falls_back_to_round_robin(propose: Callable[..., Any], fault: BalancerFault) -> None:
    made = Guard(propose)
    picked = Counter(instance.port for _ in range(40) if (instance := made.choose()[0]) is not None)
    assert picked == {1: 10, 2: 10, 3: 10, 4: 10}
    assert {found for found, _ in made.faults} == {fault}
    assert len(made.faults) == 40
    assert all((error is not None) == (fault is BalancerFault.RAISED) for _, error in made.faults)


def test_an_excluded_proposal_falls_back() -> None:
    made = Guard(lambda *_: FLEET[0])
    assert made.choose(FLEET[0])[0] in FLEET[1:]
    assert made.faults == [(BalancerFault.EXCLUDED, None)]


def test_an_ejected_instance_is_not_eligible() -> None:
    made = Guard(lambda *_: FLEET[0])
    assert made.choose()[0] == FLEET[0]
    made.cluster.record(FLEET[0], REFUSED, 0.0)
    assert FLEET[0] not in made.inner.lists[-1]
    assert made.choose(now=0.1)[0] in FLEET[1:]
    assert made.faults == [(BalancerFault.NOT_ELIGIBLE, None)]


def test_an_instance_at_its_limit_is_excluded_for_a_balancer() -> None:
    made = Guard(lambda *_: FLEET[0], max_in_flight_per_instance=1)
    assert made.choose()[0] == FLEET[0]
    assert made.choose()[0] in FLEET[1:]
    assert made.faults == [(BalancerFault.EXCLUDED, None)]


def test_a_proposal_of_none_is_no_fault_if_all_instances_are_excluded() -> None:
    """After all instances have been tried, the cluster chooses one again by its own rules."""
    made = Guard(first_eligible)
    keys = [instance.key for instance in FLEET]
    assert made.cluster.choose(Selection(keys, keys[1:], CallInfo()), 0.0) == FLEET[0]
    assert made.faults == []


def test_exceptions_of_notification_methods_are_reported_and_ignored() -> None:
    made = Guard(first_eligible)
    made.inner.started = lambda *_: raise_(ValueError("started"))  # type: ignore[method-assign]
    made.inner.ended = lambda *_: raise_(ValueError("ended"))  # type: ignore[method-assign]
    made.inner.update = lambda *_: raise_(ValueError("update"))  # type: ignore[method-assign]
    picked, call = made.choose()
    assert picked is not None
    made.cluster.record(picked, ANSWERED, 1.0, 0.0, call=call)
    made.cluster.apply(FLEET[1:], 1.0)
    assert [str(error) for _, error in made.faults] == ["started", "ended", "update"]
    assert {fault for fault, _ in made.faults} == {BalancerFault.LISTENER_RAISED}
    assert made.choose()[0] in FLEET[1:]


def test_during_slow_start_a_balancer_gets_smaller_weights() -> None:
    made = Guard(lambda self, *_: self.lists[-1][-1], slow_start_s=10.0)
    newcomer = Instance("10.0.0.1", 5, 4.0)
    made.cluster.apply([*FLEET, newcomer], 1.0)
    assert made.inner.lists[-1][-1].weight == pytest.approx(0.4)
    picked, _ = made.choose(now=1.0)
    assert picked is not None
    assert picked.weight == 4.0
    assert made.choose(now=11.5)[0] == newcomer
    assert made.inner.lists[-1][-1].weight == 4.0


def test_excluded_works_as_a_set_of_instances_of_any_weight() -> None:
    excluded = Excluded([FLEET[0].key, ("10.9.9.9", 1)], {instance.key: instance for instance in FLEET})
    assert FLEET[0]._replace(weight=0.1) in excluded
    assert FLEET[1] not in excluded
    assert None not in excluded
    assert list(excluded) == [FLEET[0]]
    assert set(FLEET) - excluded == set(FLEET[1:])
    assert [instance for instance in FLEET if instance not in excluded] == FLEET[1:]


def test_headers_of_a_call_ignore_case_and_hide_their_values() -> None:
    headers = CallHeaders({"X-Canary": "1"})
    assert headers["x-canary"] == headers["X-CANARY"] == headers.get("X-canary") == "1"
    assert "x-CANARY" in headers
    assert headers.get("other") is None
    assert dict(headers) == {"x-canary": "1"}
    assert "1" not in repr(headers)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda _: 1 / 0, "raised ZeroDivisionError"),
        (lambda _: object(), "returned object, which has no method update and no choose"),
        (lambda _: {}, "which has no method choose"),
    ],
)
def test_a_factory_that_makes_no_balancer_is_refused_with_its_name(factory: Any, message: str) -> None:
    with pytest.raises(BadBalancerError, match=message):
        make_balancer(factory, Random(1), load_factor=1.25, on_fault=lambda *_: None)
