"""Scenario files in TOML: the services to simulate, a timeline, and expectations of a client.

Every part is optional; `seed = 7` alone is valid. An error gives the path of the wrong value:
`$.timeline[2].fault.type: expected one of …`. The table `[client]` is validated by the demo, because only the demo
imports the client.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from simulator.scenario_model import Scenario, ScenarioError
from simulator.scenario_reader import parse

__all__ = ["Scenario", "ScenarioError", "find", "gallery", "read"]

GALLERY = Path(__file__).parent / "scenarios"


def find(path: Path) -> Path:
    """Return the path of a scenario file, which may be given as the name of a built-in scenario."""
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
    try:
        given = tomllib.loads(find(path).read_text("utf-8-sig"))
    except FileNotFoundError as error:
        names = ", ".join(found.stem for found in gallery())
        raise ScenarioError(f"{path}: no such file, and no built-in scenario of that name ({names})") from error
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: it is not text in UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:  # tomllib raises a plain ValueError for a number of 5,000 digits
        raise ScenarioError(f"{path}: {error}") from error
    try:
        return parse(given)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None
