"""Application of `InstanceFilter`, a program's function that decides which instances its client uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eas_tw.policy.instance import Instance

    InstanceFilter = Callable[[Instance], bool]
    Warn = Callable[[str, BaseException | None], None]


class Filtering:
    """Applies a filter to each list of instances.

    Args:
        rule: A function of an instance that returns whether to use it; `None` to use all instances.
        warn: A function that is called when the filter is ignored for a list. Its arguments are a message, and the
            exception that the rule raised, or `None`. It is not called again until the filter has been applied
            successfully.
    """

    def __init__(self, rule: InstanceFilter | None, warn: Warn) -> None:
        self._rule = rule
        self._warn = warn
        self._is_ignored = False

    def of(self, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        """Return the instances to use.

        Returns:
            1. The instances that pass the rule, in order.
            2. All instances, if none with a weight above 0 passes, or if the rule raises an exception. A wrong rule
               must not make a service unreachable.
        """
        instances = tuple(instances)
        rule = self._rule
        if rule is None or not instances:
            return instances
        try:
            kept = tuple(instance for instance in instances if rule(instance))
        except BaseException as error:  # noqa: BLE001  an exception in the program's code must not stop discovery
            self._ignore("raised an exception and is ignored: all instances are used", error)
            return instances
        if not any(instance.weight > 0 for instance in kept):
            self._ignore(f"leaves none of {len(instances)} instances and is ignored", None)
            return instances
        self._is_ignored = False
        return kept

    def _ignore(self, text: str, error: BaseException | None) -> None:
        if not self._is_ignored:
            self._is_ignored = True
            self._warn(text, error)
