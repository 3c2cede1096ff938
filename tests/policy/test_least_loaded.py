"""The balancer with power of two choices."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from eas_tw.policy.balancing import CallInfo, Excluded
from eas_tw.policy.instances import Instance
from eas_tw.policy.least_loaded import LeastLoaded
from eas_tw.policy.load import Loads
from eas_tw.policy.outcomes import ANSWERED, AttemptStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

FLEET = [Instance("10.0.0.1", port) for port in range(1, 6)]


def balancer(*instances: Instance) -> tuple[LeastLoaded, Loads]:
    made = LeastLoaded(Random(1))
    made.update(instances or FLEET)
    return made, made.loads


def choose(made: LeastLoaded, now: float = 0.0, *, excluded: Sequence[Instance] = ()) -> Instance | None:
    return made.choose(CallInfo(now=now), Excluded([instance.key for instance in excluded], {}))


def spread(made: LeastLoaded, picks: int = 1000, now: float = 0.0) -> Counter[int]:
    return Counter(picked.port for _ in range(picks) if (picked := choose(made, now)))


def test_without_load_all_instances_are_chosen() -> None:
    counts = spread(balancer()[0])
    assert set(counts) == {1, 2, 3, 4, 5}
    assert max(counts.values()) < 2 * min(counts.values())


def test_a_slow_instance_is_never_chosen_if_another_is_drawn() -> None:
    made, loads = balancer()
    loads.began(FLEET[0].key, 0.0)
    loads.ended(FLEET[0].key, 1.0, 0.0)
    assert spread(made)[1] == 0


def test_calls_in_flight_level_out() -> None:
    made, loads = balancer()
    for _ in range(1000):
        picked = choose(made)
        assert picked
        loads.began(picked.key, 0.0)
    in_flight = [loads._loads[instance.key].in_flight for instance in FLEET]
    assert max(in_flight) - min(in_flight) <= 6


def test_weight_divides_load() -> None:
    """An instance with three times the weight gets three times the calls in flight."""
    heavy, light = Instance("10.0.0.1", 1, 3), Instance("10.0.0.1", 2, 1)
    made, loads = balancer(heavy, light)
    for _ in range(400):
        picked = choose(made)
        assert picked
        loads.began(picked.key, 0.0)
    assert abs(loads._loads[heavy.key].in_flight - 300) <= 3


def test_excluded_instances_are_not_chosen() -> None:
    made, _ = balancer()
    for count in range(5):
        assert {choose(made, excluded=FLEET[:count]) for _ in range(200)} == set(FLEET[count:])
    assert choose(made, excluded=FLEET) is None


def test_only_listed_instances_are_chosen_by_their_current_weight() -> None:
    made, loads = balancer()
    made.update([Instance("10.0.0.1", 2, 0), FLEET[2]._replace(weight=0.1), FLEET[3], FLEET[4]])
    for instance in FLEET:
        loads.began(instance.key, 0.0)
    assert set(spread(made)) == {4, 5}


def test_a_call_and_a_stream_count_as_load_until_their_ends() -> None:
    made, loads = balancer()
    call, stream = CallInfo(now=1.0), CallInfo(now=1.0)
    made.started(FLEET[0], call)
    made.started(FLEET[0], stream)
    made.streaming(FLEET[0], stream, 0.2)
    made.ended(FLEET[0], call, ANSWERED, 0.1)
    assert loads._loads[FLEET[0].key].in_flight == 1
    assert loads.score(FLEET[0].key, 1.2) == pytest.approx(2 * 0.2, rel=0.02)
    made.ended(FLEET[0], stream, ANSWERED, 60.0)
    assert loads._loads[FLEET[0].key].in_flight == 0
    assert loads.score(FLEET[0].key, 61.0) < 0.2


@pytest.mark.parametrize(
    ("attempt_status", "counts"),
    [
        (AttemptStatus.CONNECT_REFUSED, False),
        (AttemptStatus.CANCELLED, False),
        (AttemptStatus.UNRESPONSIVE, True),
        (AttemptStatus.DEADLINE, True),
    ],
)
def test_a_failure_counts_as_a_latency_only_if_it_is_a_timeout(attempt_status: AttemptStatus, *, counts: bool) -> None:
    made, loads = balancer()
    call = CallInfo(now=1.0)
    made.started(FLEET[0], call)
    made.ended(FLEET[0], call, Outcome(attempt_status), 3.0)
    assert (loads.score(FLEET[0].key, 4.0) > 1.0) == counts


def test_a_call_that_the_service_may_hold_back_is_neither_silence_nor_a_latency() -> None:
    made, loads = balancer()
    key, waiting = FLEET[0].key, CallInfo(now=1.0, hold_s=5.0)
    made.started(FLEET[0], waiting)
    assert loads.score(key, 5.9) == loads.score(key, 1.0), "it waits for a frame"
    made.ended(FLEET[0], waiting, ANSWERED, 5.0)
    assert loads.score(key, 6.0) < 0.01
    assert loads._loads[key].streaming == 0
    put = CallInfo(now=7.0)
    made.started(FLEET[0], put)
    assert loads.score(key, 9.0) > 1.0, "a put is answered at once, so its silence counts"


def test_an_ejected_instance_comes_back_with_the_latency_that_it_had() -> None:
    made, loads = balancer()
    call = CallInfo(now=1.0)
    made.started(FLEET[0], call)
    made.ended(FLEET[0], call, ANSWERED, 2.0)
    made.update(FLEET[1:])
    made.update(FLEET)
    assert loads.score(FLEET[0].key, 3.0) == pytest.approx(2.0)
