"""A scenario file: what to simulate, what happens when, and what is expected of a client, in TOML.

Everything is optional; `seed = 7` alone is valid. Whatever is wrong is said by its path: `$.timeline[2].fault.type:
expected one of …`. `[client]` is for the demo, which alone knows what a client can be told.
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
    """A scenario that is not one; the text says where and what."""


@frozen
class Scenario:
    """What a scenario file says; what it does not say is `None` or empty.

    Attributes:
        title: Its name.
        story: What happens and why it matters, for people.
        seed: Of every random draw.
        length_s: How long a demo of it lasts.
        services: What to simulate.
        advertise: Host that discovery gives to others; empty for none.
        client: Settings of the demo's client: `calls_per_s`, `service`, and any of the client's own.
        timeline: What happens; faults that are there from the beginning are steps at 0.
        expectations: What must be true of the account; without any, that no call is lost.
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
    """The file that is meant: a path, or the name of a scenario in the gallery."""
    in_gallery = GALLERY / f"{path.name}.toml"
    return in_gallery if path == Path(path.name) and not path.exists() and in_gallery.exists() else path


def gallery() -> list[Path]:
    """The scenarios that come with the simulator."""
    return sorted(GALLERY.glob("*.toml"))


def read(path: Path) -> Scenario:
    """The scenario in a file, or in the gallery.

    Raises:
        ScenarioError: There is no such file, or it is not a scenario.
    """
    # Imported here: the reader needs what the timeline needs, which a mere value does not.
    from simulator.scenario_reader import parse  # noqa: PLC0415

    try:
        given = tomllib.loads(find(path).read_text("utf-8"))
    except FileNotFoundError as error:
        names = ", ".join(found.stem for found in gallery())
        raise ScenarioError(f"{path}: no such file, and no such story in the gallery ({names})") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    try:
        return parse(given)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None
