"""The vendor's first two rules: discovery is a side channel, and a bad reply never empties the cache."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw import DiscoveryError, NoInstances
from tests.simulation.house import House

ROW = '{"ip": "10.0.0.2", "port": 50000, "weight": 100}'
LIES: dict[str, tuple[str, dict[str, Any], str]] = {
    # name: (fault, attributes, the reason in the client's account)
    "500": ("http_status", {"code": 500}, "http_status"),
    "404": ("http_status", {"code": 404}, "http_status"),
    "302": ("http_status", {"code": 302}, "http_status"),
    "204": ("http_status", {"code": 204}, "http_status"),
    "empty list": ("empty_list", {}, "empty_list"),
    "{}": ("garbage", {"body": "{}"}, "wrong_shape"),
    "html": ("garbage", {"body": "<html>busy</html>"}, "not_json"),
    "nothing": ("garbage", {"body": ""}, "not_json"),
    "null items": ("garbage", {"body": '{"endpoints": {"items": [null, null]}}'}, "no_usable_row"),
    "items null": ("garbage", {"body": '{"endpoints": {"items": null}}'}, "wrong_shape"),
    "no weight": ("garbage", {"body": '{"endpoints": {"items": [{"ip": "10.0.0.9", "port": 1}]}}'}, "no_usable_row"),
    "zero weights": ("zero_weights", {}, "zero_weights"),
    "silence": ("timeout", {}, "timeout"),
    "unreachable": ("unreachable", {}, "connection"),
}


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_for_a_hundred_polls_the_list_stays_and_no_call_is_lost(lie: str) -> None:
    """Whatever discovery answers: the same instances, every call answered, each refusal counted under its reason."""
    fault, attributes, reason = LIES[lie]
    house = House().init()
    before = house.client.instances
    house.lie(fault, **attributes)
    while house.client.discovery.polls < 101:
        house.traffic(5.0, per_s=4)
        assert house.client.instances == before
    assert house.client.discovery.rejections == {reason: house.client.discovery.polls - 1}
    assert house.client.discovery.age_s > 400
    house.heal()
    house.traffic(10.0, per_s=4)
    assert house.client.discovery.age_s < 6
    assert house.lost == []
    house.assert_clean()


def test_a_bad_row_costs_itself_only() -> None:
    """Ten bad rows among three good ones: the good ones count, the bad ones are counted."""
    house = House().init()
    before = house.client.instances
    house.lie("bad_rows")
    house.traffic(500.0, per_s=4)
    assert house.client.instances == before
    assert house.client.discovery.bad_rows.total() >= 90 * 10
    assert house.client.discovery.rejections == {}
    assert house.lost == []
    house.assert_clean()


@pytest.mark.parametrize("per_s", [0.0, 1.0, 200.0])
def test_discovery_does_not_depend_on_traffic(per_s: float) -> None:
    """The number of discovery requests is the same without a call and with thousands."""
    house = House(poll_jitter=0.0).init()
    if per_s:
        house.traffic(60.0, per_s=per_s)
    else:
        house.wait(60.0)
    assert house.world.control_plane.requests.total() in (12, 13)
    assert house.lost == []
    house.assert_clean()


def test_a_slow_control_plane_never_delays_a_call() -> None:
    """Replies that take 2.9 s arrive in the background; calls take what they take."""
    house = House().init()
    house.lie("latency", latency=2900)
    for _ in range(200):
        before = house.scheduler.seconds()
        house.call()
        assert house.scheduler.seconds() - before < 0.01
        house.wait(0.1)
    assert house.client.discovery.rejections == {}
    house.assert_clean()


def test_init_waits_for_the_first_good_list_and_polls_faster_meanwhile() -> None:
    """Cold start while discovery fails: polls at 0.1 s, doubling; ready as soon as it answers."""
    house = House()
    house.lie("http_status", code=500)
    ready = house.client.init()
    house.wait(1.0)
    assert house.client.discovery.polls >= 4
    with pytest.raises(NoInstances):
        house.call()
    house.heal()
    house.run(ready, timeout_s=2.0)
    assert house.call() == "call 0"
    house.assert_clean()


def test_init_gives_up_with_what_the_control_plane_said() -> None:
    """After `init_timeout_s`; a later `init` succeeds once discovery does."""
    house = House(init_timeout_s=3.0)
    house.lie("empty_list")
    with pytest.raises(DiscoveryError, match="is empty"):
        house.run(house.client.init())
    house.heal()
    house.init()
    assert house.call() == "call 0"
    house.assert_clean()


def test_changes_of_the_list_are_followed() -> None:
    """Scale up, scale down, weights: within a poll, without a lost call."""
    house = House(instances=2).init()
    house.traffic(6.0)
    added = house.world.services["echo"].add_instance()
    house.traffic(12.0)
    assert len(house.client.instances) == 3
    assert house.world.journal.by_instance[added.id] > 40
    house.instance(0).registered = False
    house.traffic(6.0)
    assert len(house.client.instances) == 2
    count = house.world.journal.by_instance["echo-0"]
    house.traffic(5.0)
    assert house.world.journal.by_instance["echo-0"] == count
    house.instance(1).weight = 300
    house.traffic(6.0)
    house.world.journal.clear()
    house.traffic(20.0)
    assert house.world.journal.by_instance == {"echo-1": 300, "echo-2": 100}
    assert house.lost == []
    house.assert_clean()
