"""Power of two choices."""

from __future__ import annotations

from collections import Counter
from random import Random

from eas_tw.policy.instances import Instance
from eas_tw.policy.least_loaded import LeastLoaded
from eas_tw.policy.load import Loads
from eas_tw.policy.selection import FIRST, Selection

FLEET = [Instance("10.0.0.1", port) for port in range(1, 6)]


def balancer(*instances: Instance) -> tuple[LeastLoaded, Loads]:
    loads = Loads()
    made = LeastLoaded(Random(1), loads)
    made.add(instances or FLEET)
    return made, loads


def spread(made: LeastLoaded, picks: int = 1000, now: float = 0.0) -> Counter[int]:
    return Counter(picked.port for _ in range(picks) if (picked := made.pick(FIRST, now)))


def test_without_load_everybody_is_drawn() -> None:
    counts = spread(balancer()[0])
    assert set(counts) == {1, 2, 3, 4, 5}
    assert max(counts.values()) < 2 * min(counts.values())


def test_the_slow_one_is_picked_only_when_it_is_drawn_against_nobody() -> None:
    made, loads = balancer()
    loads.began(FLEET[0].key, 0.0)
    loads.ended(FLEET[0].key, 1.0, 0.0)
    assert spread(made)[1] == 0


def test_calls_in_flight_level_out() -> None:
    made, loads = balancer()
    for _ in range(1000):
        picked = made.pick()
        assert picked
        loads.began(picked.key, 0.0)
    in_flight = [loads.in_flight(instance.key) for instance in FLEET]
    assert max(in_flight) - min(in_flight) <= 6


def test_weight_divides_load() -> None:
    """Three times the weight carries three times the calls in flight."""
    heavy, light = Instance("10.0.0.1", 1, 3), Instance("10.0.0.1", 2, 1)
    made, loads = balancer(heavy, light)
    for _ in range(400):
        picked = made.pick()
        assert picked
        loads.began(picked.key, 0.0)
    assert abs(loads.in_flight(heavy.key) - 300) <= 3


def test_those_tried_are_not_drawn() -> None:
    made, _ = balancer()
    keys = [instance.key for instance in FLEET]
    for count in range(5):
        assert {made.pick(Selection(keys[:count], ())) for _ in range(200)} == set(FLEET[count:])
    assert made.pick(Selection(keys, ())) is None


def test_coming_going_and_reweighing() -> None:
    """An instance of weight 0 or a removed one is not picked; a share scales its calls."""
    made, loads = balancer()
    made.remove([FLEET[0].key, ("10.9.9.9", 1)])
    made.add([Instance("10.0.0.1", 2, 0)])
    assert len(made) == 3
    assert FLEET[0].key not in made
    assert FLEET[2].key in made
    made.add([FLEET[2]], {FLEET[2].key: 0.1})
    for instance in FLEET:
        loads.began(instance.key, 0.0)
    assert spread(made)[3] == 0
