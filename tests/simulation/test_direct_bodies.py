"""The simulation holds when almost every body is received directly; its usual bodies are too small for that."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw.net import direct_body, http1
from eas_tw.net.direct_body import DirectBody
from simulator.virtual.nemesis import draw
from simulator.virtual.world import World

pytestmark = pytest.mark.long


@pytest.mark.parametrize("seed", [1001002, 1001005, 1001014])
def test_bodies_that_are_received_directly_obey_all_rules(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are lost within bodies, calls are cancelled and hedged, and pools retire."""
    received: list[int] = []

    class Counted(DirectBody):
        def __init__(self, *given: Any) -> None:
            received.append(given[1])
            super().__init__(*given)

    monkeypatch.setattr(direct_body, "LEAST_BYTES", 1)
    monkeypatch.setattr(http1, "DirectBody", Counted)
    assert World(draw(seed)).run().violations == ()
    assert len(received) > 10
