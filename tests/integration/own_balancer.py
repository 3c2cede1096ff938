"""A balancer defined outside the client, for commands that import it by name."""

from __future__ import annotations

from typing import Any


class FirstInstance:
    """Chooses the first instance that is not excluded."""

    def __init__(self, _: Any) -> None:
        self._instances: tuple[Any, ...] = ()

    def update(self, instances: Any) -> None:
        self._instances = tuple(instances)

    def choose(self, _: Any, excluded: Any) -> Any:
        return next((instance for instance in self._instances if instance not in excluded), None)
