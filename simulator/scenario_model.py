"""The content of a scenario, as values; `simulator.scenario` reads it from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.expectations import Expectation
    from simulator.service_spec import ServiceSpec
    from simulator.timeline import TimelineStep

DEFAULT_LENGTH_S = 30.0


class ScenarioError(ValueError):
    """Raised for an invalid scenario; the text has the path of the wrong value."""


@frozen
class Scenario:
    """The content of a scenario file; absent parts are `None` or empty.

    Attributes:
        title: Title.
        story: Description for readers: the events, and why they matter.
        seed: Seed of all random draws.
        length_s: Length of a demo of the scenario, in seconds.
        services: Services to simulate.
        advertise: Host that discovery gives to clients; empty for none.
        client: Settings of the demo's client: `calls_per_s`, `service`, and any of `ClientConfig`.
        timeline: Steps; faults that are active from the beginning are steps at 0.
        expectations: Expectations of the traffic; if empty, the only expectation is that no call is lost.
    """

    title: str = ""
    story: str = ""
    seed: int | None = None
    length_s: float = DEFAULT_LENGTH_S
    services: tuple[ServiceSpec, ...] = ()
    advertise: str = ""
    client: Mapping[str, Any] = field(factory=dict)
    timeline: tuple[TimelineStep, ...] = ()
    expectations: tuple[Expectation, ...] = ()
