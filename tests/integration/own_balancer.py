"""A program's own balancer, for commands that import it."""

from __future__ import annotations

from typing import Any


class FirstInstance:
    """Chooses the first of the instances that may be used."""

    def __init__(self, _: Any) -> None:
        self._instances: tuple[Any, ...] = ()

    def update(self, instances: Any) -> None:
        self._instances = tuple(instances)

    def choose(self, _: Any, excluded: Any) -> Any:
        return next((instance for instance in self._instances if instance not in excluded), None)
