"""Old names of the admin API and of its clients work for one more release."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw.testing.remote import Remote
from tests.simulator.world import World


def test_the_old_path_of_activations_returns_them_under_the_old_key() -> None:
    world = World()
    world.ask("POST", "/v1/faults", {"name": "f", "type": "empty_list", "target": {"discovery": True}})
    world.discover("echo")
    new, old = world.ask("GET", "/v1/activations")[1], world.ask("GET", "/v1/strikes")[1]
    assert len(new["activations"]) == new["total"] == 1
    assert old == {"strikes": new["activations"], "total": 1}
    assert world.ask("GET", "/v1/strikes?limit=0")[1] == {"strikes": [], "total": 1}


def test_the_older_metric_has_the_same_samples() -> None:
    world = World()
    world.ask("POST", "/v1/faults", {"name": "f", "type": "empty_list", "target": {"discovery": True}})
    world.discover("echo")
    text = world.ask("GET", "/metrics")[1]
    lines = [line for line in text.splitlines() if "_activations_total{" in line]
    assert lines != []
    assert [line.replace("_activations_total", "_strikes_total") for line in lines] == [
        line for line in text.splitlines() if "_strikes_total{" in line
    ]


def test_the_older_attribute_of_the_registry_warns() -> None:
    faults = World().simulator.faults
    with pytest.warns(DeprecationWarning, match="use activations"):
        assert faults.strikes is faults.activations


def test_the_older_method_of_the_remote_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    remote = Remote("http://127.0.0.1:1")
    monkeypatch.setattr(remote, "activations", lambda limit, **equal: asked.append((limit, equal)))
    with pytest.warns(DeprecationWarning, match=r"Remote\.activations"):
        remote.strikes(3, fault="f")
    assert asked == [(3, {"fault": "f"})]
