"""Rules 1 and 2 of the vendor (docs/reference/wire.md): no call waits for discovery, no bad reply empties the list."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw import DiscoveryError, NoInstances
from tests.simulation.harness import Harness

ROW = '{"ip": "10.0.0.2", "port": 50000, "weight": 100}'
LIST_FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    # name: (fault, attributes, the reason that the client counts)
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


@pytest.mark.parametrize("kind", LIST_FAULTS, ids=str)
def test_for_a_hundred_polls_the_list_stays_and_no_call_is_lost(kind: str) -> None:
    fault, attributes, reason = LIST_FAULTS[kind]
    harness = Harness().init()
    before = harness.client.instances
    harness.discovery_fault(fault, **attributes)
    while harness.client.discovery.polls < 101:
        harness.traffic(5.0, per_s=4)
        assert harness.client.instances == before
    assert harness.client.discovery.rejections == {reason: harness.client.discovery.polls - 1}
    assert harness.client.discovery.age_s > 400
    harness.heal()
    harness.traffic(10.0, per_s=4)
    assert harness.client.discovery.age_s < 6
    assert harness.lost == []
    harness.assert_clean()


def test_bad_rows_are_dropped_and_good_rows_of_the_same_reply_used() -> None:
    """The client uses the three good rows of a reply, and counts its ten bad rows."""
    harness = Harness().init()
    before = harness.client.instances
    harness.discovery_fault("bad_rows")
    harness.traffic(500.0, per_s=4)
    assert harness.client.instances == before
    assert harness.client.discovery.bad_rows.total() >= 90 * 10
    assert harness.client.discovery.rejections == {}
    assert harness.lost == []
    harness.assert_clean()


@pytest.mark.parametrize("per_s", [0.0, 1.0, 200.0])
def test_discovery_does_not_depend_on_traffic(per_s: float) -> None:
    """The number of discovery requests is the same with no call and with thousands of calls."""
    harness = Harness(poll_jitter=0.0).init()
    if per_s:
        harness.traffic(60.0, per_s=per_s)
    else:
        harness.wait(60.0)
    assert harness.world.control_plane.requests.total() in (12, 13)
    assert harness.lost == []
    harness.assert_clean()


def test_a_slow_control_plane_never_delays_a_call() -> None:
    """While discovery replies take 2.9 s, each call takes less than 10 ms."""
    harness = Harness().init()
    harness.discovery_fault("latency", latency=2900)
    for _ in range(200):
        before = harness.scheduler.seconds()
        harness.call()
        assert harness.scheduler.seconds() - before < 0.01
        harness.wait(0.1)
    assert harness.client.discovery.rejections == {}
    harness.assert_clean()


def test_init_waits_for_the_first_good_list_and_polls_faster_meanwhile() -> None:
    """Without a list, the client polls at least four times in the first second, and a call fails with `NoInstances`."""
    harness = Harness()
    harness.discovery_fault("http_status", code=500)
    ready = harness.client.init()
    harness.wait(1.0)
    assert harness.client.discovery.polls >= 4
    with pytest.raises(NoInstances):
        harness.call()
    harness.heal()
    harness.run(ready, timeout_s=2.0)
    assert harness.call() == "call 0"
    harness.assert_clean()


def test_init_fails_with_the_last_reply_of_the_control_plane() -> None:
    harness = Harness(init_timeout_s=3.0)
    harness.discovery_fault("empty_list")
    with pytest.raises(DiscoveryError, match="is empty"):
        harness.run(harness.client.init())
    harness.heal()
    harness.init()
    assert harness.call() == "call 0"
    harness.assert_clean()


def test_changes_of_the_list_are_followed() -> None:
    """The client uses new instances, removed instances and new weights after one poll, and loses no call."""
    harness = Harness(instances=2).init()
    harness.traffic(6.0)
    added = harness.world.services["echo"].add_instance()
    harness.traffic(12.0)
    assert len(harness.client.instances) == 3
    assert harness.world.journal.by_instance[added.id] > 40
    harness.instance(0).registered = False
    harness.traffic(6.0)
    assert len(harness.client.instances) == 2
    count = harness.world.journal.by_instance["echo-0"]
    harness.traffic(5.0)
    assert harness.world.journal.by_instance["echo-0"] == count
    harness.instance(1).weight = 300
    harness.traffic(6.0)
    harness.world.journal.clear()
    harness.traffic(20.0)
    assert harness.world.journal.by_instance == {"echo-1": 300, "echo-2": 100}
    assert harness.lost == []
    harness.assert_clean()
