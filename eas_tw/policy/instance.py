"""The `Instance` type, and the comparison of two lists of instances."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_WEIGHT = 2**31 - 1
"""The maximum weight, above every weight seen in practice; shares of weights up to it are exact in a float."""


class _Row(NamedTuple):
    ip: str
    port: int
    weight: float = 1


class Instance(_Row):
    """One instance of a service; a tuple of ip, port and weight.

    Attributes:
        ip: IP address or host name, as the control plane spells it.
        port: TCP port, 1–65535.
        weight: Share of the traffic relative to the other instances, ≥ 0; 0 means no new calls.
        app: The name of the instance's application, such as that of a canary; empty if discovery reports none.
            Comparisons of instances ignore it.
    """

    # A class attribute, so that an instance without an application uses no more memory than a tuple.
    app: str = ""

    def __new__(cls, ip: str, port: int, weight: float = 1, app: str = "") -> Self:
        """Create an instance."""
        made = tuple.__new__(cls, (ip, port, weight))
        if app:
            made.app = app
        return made

    def __repr__(self) -> str:
        app = f", app={self.app!r}" if self.app else ""
        return f"Instance(ip={self.ip!r}, port={self.port!r}, weight={self.weight!r}{app})"

    def _replace(self, **values: Any) -> Self:
        """Return a copy with changed values (`NamedTuple`)."""
        app = values.pop("app", self.app)
        made = super()._replace(**values)
        if app:
            made.app = app
        return made

    @property
    def key(self) -> tuple[str, int]:
        """Ip and port, which identify the instance whatever its weight."""
        raise AssertionError("replaced below")

    @property
    def address(self) -> str:
        """Ip and port in the form of a Host header (RFC 9110 §7.2), with brackets around IPv6."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


# An `itemgetter` is implemented in C: `key` is read several times for each call and for every row of a list.
Instance.key = property(itemgetter(0, 1), doc=Instance.key.__doc__)  # type: ignore[assignment]


class Added(NamedTuple):
    """An instance that was not in the list before."""

    instance: Instance


class Removed(NamedTuple):
    """An instance that is no longer in the list."""

    instance: Instance


class Reweighted(NamedTuple):
    """An instance that stays in the list with another weight."""

    instance: Instance
    weight_before: float


Change = Added | Removed | Reweighted


def is_same_list(before: Sequence[Instance], after: Sequence[Instance]) -> bool:
    """Return whether two lists are equal, including the applications, which `==` ignores."""
    return before == after and all(map(_is_of_same_app, before, after))


def _is_of_same_app(one: Instance, other: Instance) -> bool:
    return one.app == other.app


def changes(before: Sequence[Instance], after: Sequence[Instance]) -> tuple[Change, ...]:
    """Return the changes from one list to another: removals first, then the rest in the order of the new list."""
    old = {instance.key: instance for instance in before}
    new = {instance.key: instance for instance in after}
    found: list[Change] = [Removed(instance) for key, instance in old.items() if key not in new]
    for key, instance in new.items():
        known = old.get(key)
        if known is None:
            found.append(Added(instance))
        elif known.weight != instance.weight:
            found.append(Reweighted(instance, known.weight))
    return tuple(found)
