"""A scenario file: what to simulate, in TOML.

For now a seed and the services; `seed = 7` alone is valid.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from attrs import frozen

from simulator.fleet import ServiceSpec, SpecError
from simulator.processors import ProcessorError, find

if TYPE_CHECKING:
    from pathlib import Path

_SERVICE_FIELDS = {"name", "instances", "weights", "token", "processor"}


class ScenarioError(ValueError):
    """A scenario that is not one; the text says where and what."""


@frozen
class Scenario:
    """What a scenario file says; what it does not say is `None` or empty."""

    seed: int | None = None
    services: tuple[ServiceSpec, ...] = ()


def read(path: Path) -> Scenario:
    """The scenario in a file.

    Raises:
        ScenarioError: There is no such file, or it is not a scenario.
    """
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    for name in given:
        if name not in ("seed", "services"):
            raise ScenarioError(f"{path}: {name}: unknown; a scenario has seed and services")
    seed = given.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise ScenarioError(f"{path}: seed: expected a whole number, got {seed!r}")
    rows = given.get("services", [])
    if not isinstance(rows, list):
        raise ScenarioError(f"{path}: services: expected [[services]] tables")
    return Scenario(seed, tuple(_service(path, at, row) for at, row in enumerate(rows)))


def _service(path: Path, at: int, row: Any) -> ServiceSpec:
    where = f"{path}: services[{at}]"
    if not isinstance(row, dict) or "name" not in row:
        raise ScenarioError(f"{where}: expected a table with a name")
    for name in row:
        if name not in _SERVICE_FIELDS:
            raise ScenarioError(f"{where}.{name}: unknown; a service has {', '.join(sorted(_SERVICE_FIELDS))}")
    try:
        spec = ServiceSpec(**row)
        if not callable(spec.processor):
            find(spec.processor, spec.name)
    except (SpecError, ProcessorError, TypeError) as error:
        raise ScenarioError(f"{where}: {error}") from error
    return spec
