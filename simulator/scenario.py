"""Scenario files in TOML: the services to simulate, a timeline, and expectations of a client.

Every part is optional; `seed = 7` alone is valid. An error gives the path of the wrong value:
`$.timeline[2].fault.type: expected one of …`. `[client]` is for the demo and is validated there, because only the demo
imports the client.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.expectations import Expectation
    from simulator.service_spec import ServiceSpec
    from simulator.timeline import TimelineStep

GALLERY = Path(__file__).parent / "scenarios"
DEFAULT_LENGTH_S = 30.0


class ScenarioError(ValueError):
    """An invalid scenario; the text gives the path of the wrong value."""


@frozen
class Scenario:
    """The content of a scenario file; absent parts are `None` or empty.

    Attributes:
        title: Title.
        story: Description of what happens and why it matters, for people.
        seed: Seed of all random draws.
        length_s: Length of a demo of the scenario, in seconds.
        services: Services to simulate.
        advertise: Host that discovery gives to clients; empty for none.
        client: Settings of the demo's client: `calls_per_s`, `service`, and any of `ClientConfig`.
        timeline: Steps; faults that are active from the beginning are steps at 0.
        expectations: Expectations of the traffic; without any, that no call is lost.
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


def find(path: Path) -> Path:
    """Find the file of a path, or of the name of a built-in scenario."""
    in_gallery = GALLERY / f"{path.name}.toml"
    return in_gallery if path == Path(path.name) and not path.exists() and in_gallery.exists() else path


def gallery() -> list[Path]:
    """Return the built-in scenarios."""
    return sorted(GALLERY.glob("*.toml"))


def read(path: Path) -> Scenario:
    """Read a scenario from a file, or a built-in one by name.

    Raises:
        ScenarioError: There is no such file, or it is not a valid scenario.
    """
    # Imported here: the reader imports the timeline and the fleet, which a module that only needs the values should
    # not.
    from simulator.scenario_reader import parse  # noqa: PLC0415

    try:
        given = tomllib.loads(find(path).read_text("utf-8"))
    except FileNotFoundError as error:
        names = ", ".join(found.stem for found in gallery())
        raise ScenarioError(f"{path}: no such file, and no built-in scenario of that name ({names})") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    try:
        return parse(given)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None
