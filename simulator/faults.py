"""A fault is a frozen value: what, where, when, how often; the same from tests, TOML and the admin API.

`Fault.from_json` checks and says by path what is wrong. `FaultBook` keeps the active ones and decides, by seeded
chance, which of them strikes now. Knows no socket: instances and the control plane carry out what it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

MAX_FAULTS = 1000
_MAX_S = 86_400.0


class FaultError(ValueError):
    """A fault that is not one; the text begins with the path of what is wrong."""


@frozen
class Kind:
    """What a type of fault takes.

    Attributes:
        attributes: Name to (default, check); a default of `None` means the attribute must be given.
        says: One line for people.
    """

    says: str
    attributes: Mapping[str, tuple[Any, Callable[[Any], str]]] = field(factory=dict)


def _is_ms(value: Any) -> str:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MAX_S * 1000
    return "" if good else "a number ≥ 0, in milliseconds"


def _is_status(value: Any) -> str:
    good = isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 599  # noqa: PLR2004
    return "" if good else "an HTTP status from 200 to 599"


def _is_text(value: Any) -> str:
    return "" if isinstance(value, str) else "a string"


def _is_pause(value: Any) -> str:
    good = value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0)
    return "" if good else "a number of seconds ≥ 0, or null"


_LATENCY = Kind("answers come later", {"latency": (0, _is_ms), "jitter": (0, _is_ms)})
_STATUS = Kind(
    "answers are this status", {"code": (503, _is_status), "body": ("", _is_text), "retry_after": (None, _is_pause)}
)
_SILENCE = Kind("requests are swallowed; the connection closes after `timeout`, 0 for never", {"timeout": (0, _is_ms)})

ON_INSTANCES: Mapping[str, Kind] = {
    "refuse": Kind("new connections are refused; open ones live on"),
    "reset_peer": Kind("the connection is reset, `timeout` after the request", {"timeout": (0, _is_ms)}),
    "latency": _LATENCY,
    "timeout": _SILENCE,
    "http_status": _STATUS,
}
ON_DISCOVERY: Mapping[str, Kind] = {
    "http_status": _STATUS,
    "empty_list": Kind("200 with a list of nobody"),
    "garbage": Kind("200 with a body that is not JSON, or with `body`", {"body": ("<html>busy</html>", _is_text)}),
    "timeout": _SILENCE,
    "latency": _LATENCY,
    "unreachable": Kind("the connection is reset"),
    "stale": Kind("the list as it was when the fault was made"),
    "bad_rows": Kind("rows of every wrong kind among the good ones"),
    "zero_weights": Kind("every weight is 0"),
}


@frozen
class Target:
    """Where a fault strikes: discovery, or the instances that match; an empty name matches all."""

    service: str = ""
    instance: str = ""
    discovery: bool = False

    def to_json(self) -> dict[str, Any]:
        """As the admin API has it."""
        named = {"service": self.service, "instance": self.instance}
        return ({"discovery": True} if self.discovery else {}) | {name: value for name, value in named.items() if value}


@frozen
class Fault:
    """One fault.

    Attributes:
        type: A key of `ON_INSTANCES` or `ON_DISCOVERY`.
        target: Where.
        attributes: What the type takes; those not given have their defaults.
        name: Its name; made up when empty.
        probability: Chance to strike each time it could, 0-1.
        times: How often it strikes before it ends; `None` for no end.
        skip: How many times it could strike first pass unharmed.
        duration_s: Seconds until it ends; `None` for no end.
    """

    type: str
    target: Target = field(factory=lambda: Target(discovery=True))
    attributes: Mapping[str, Any] = field(factory=dict)
    name: str = ""
    probability: float = 1.0
    times: int | None = None
    skip: int = 0
    duration_s: float | None = None

    def __attrs_post_init__(self) -> None:
        kinds = ON_DISCOVERY if self.target.discovery else ON_INSTANCES
        where = "discovery" if self.target.discovery else "instances"
        if not isinstance(self.type, str) or self.type not in kinds:
            _wrong("$.type", f"one of {', '.join(kinds)} on {where}", self.type)
        self._check_attributes(kinds[self.type])
        _check_number("$.probability", self.probability, 0, 1)
        _check_number("$.times", self.times, 1, 1e9, whole=True, none=True)
        _check_number("$.skip", self.skip, 0, 1e9, whole=True)
        _check_number("$.duration_s", self.duration_s, 0, _MAX_S, none=True)

    def _check_attributes(self, kind: Kind) -> None:
        if not isinstance(self.attributes, dict):
            _wrong("$.attributes", "an object", self.attributes)
        for name, value in self.attributes.items():
            if name not in kind.attributes:
                allowed = ", ".join(kind.attributes) or "none"
                raise FaultError(f"$.attributes.{name}: unknown; {self.type} takes {allowed}")
            expected = kind.attributes[name][1](value)
            if expected:
                _wrong(f"$.attributes.{name}", expected, value)

    def get(self, attribute: str) -> Any:
        """An attribute's value, or its default."""
        kinds = ON_DISCOVERY if self.target.discovery else ON_INSTANCES
        return self.attributes.get(attribute, kinds[self.type].attributes[attribute][0])

    @classmethod
    def from_json(cls, given: Any) -> Fault:
        """The fault an object of the admin API or a scenario describes.

        Raises:
            FaultError: It describes none; the text says by path what is wrong.
        """
        if not isinstance(given, dict):
            _wrong("$", "an object", given)
        known = {"name", "type", "target", "attributes", "probability", "times", "skip", "duration_s"}
        for name in given:
            if name not in known:
                raise FaultError(f"$.{name}: unknown; a fault has {', '.join(sorted(known))}")
        if "type" not in given:
            raise FaultError("$.type: missing")
        if not isinstance(given.get("name", ""), str):
            _wrong("$.name", "a string", given["name"])
        return cls(**{**given, "target": _target(given.get("target")), "attributes": given.get("attributes") or {}})

    def to_json(self) -> dict[str, Any]:
        """As the admin API has it."""
        return {
            "name": self.name,
            "type": self.type,
            "target": self.target.to_json(),
            "attributes": dict(self.attributes),
            "probability": self.probability,
            "times": self.times,
            "skip": self.skip,
            "duration_s": self.duration_s,
        }


def _target(given: Any) -> Target:
    if not isinstance(given, dict) or not given:
        _wrong("$.target", 'an object such as {"service": "s", "instance": "s-0"} or {"discovery": true}', given)
    for name, value in given.items():
        if name not in ("service", "instance", "discovery"):
            raise FaultError(f"$.target.{name}: unknown; a target has service and instance, or discovery")
        if not isinstance(value, bool if name == "discovery" else str):
            _wrong(f"$.target.{name}", "true" if name == "discovery" else "a name", value)
    target = Target(**given)
    if not (target.discovery or target.service):
        raise FaultError("$.target: needs a service, or discovery")
    return target


def _check_number(path: str, value: Any, low: float, high: float, *, whole: bool = False, none: bool = False) -> None:
    if value is None and none:
        return
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        _wrong(path, f"a {'whole ' if whole else ''}number from {low:g} to {high:g}" + (", or null" * none), value)


def _wrong(path: str, expected: str, got: Any) -> None:
    raise FaultError(f"{path}: expected {expected}, got {str(got)[:60]!r}")


class _Active:
    """A fault at work, and its account."""

    def __init__(self, fault: Fault, now: float) -> None:
        self.fault = fault
        self.since = now
        self.seen = 0
        self.struck = 0

    def has_ended(self, now: float) -> bool:
        fault = self.fault
        too_often = fault.times is not None and self.struck >= fault.times
        return too_often or (fault.duration_s is not None and now >= self.since + fault.duration_s)

    def strikes(self, rng: Random) -> bool:
        self.seen += 1
        if self.seen <= self.fault.skip or rng.random() >= self.fault.probability:
            return False
        self.struck += 1
        return True


class FaultBook:
    """The faults at work.

    Args:
        seconds: The clock.
        rng: Whether a fault strikes.
    """

    def __init__(self, seconds: Callable[[], float], rng: Random) -> None:
        self._seconds = seconds
        self._rng = rng
        self._active: dict[str, _Active] = {}
        self._made = 0
        self.on_change: list[Callable[[], None]] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault to work; one of the same name is replaced.

        Returns:
            The fault, with a name.
        """
        if len(self._active) >= MAX_FAULTS:
            raise FaultError(f"$: there are {MAX_FAULTS} faults already; delete some")
        if not fault.name:
            self._made += 1
            fault = Fault.from_json({**fault.to_json(), "name": f"{fault.type}-{self._made}"})
        self._active[fault.name] = _Active(fault, self._seconds())
        self._changed()
        return fault

    def remove(self, name: str) -> bool:
        """End a fault; whether there was one of that name."""
        found = self._active.pop(name, None) is not None
        self._changed()
        return found

    def clear(self) -> None:
        """End all faults."""
        self._active.clear()
        self._made = 0
        self._changed()

    def __iter__(self) -> Any:
        """The faults at work, in the order in which they were made."""
        now = self._seconds()
        return iter([active.fault for active in self._active.values() if not active.has_ended(now)])

    def get(self, name: str) -> Fault | None:
        """The fault of that name."""
        return next((fault for fault in self if fault.name == name), None)

    def struck(self, name: str) -> int:
        """How often a fault has struck."""
        return self._active[name].struck

    def on_instance(self, service: str, instance: str) -> list[Fault]:
        """The faults that strike a request that has reached an instance."""
        return self._strike(
            lambda target: not target.discovery and target.service == service and target.instance in ("", instance)
        )

    def on_discovery(self, service: str) -> list[Fault]:
        """The faults that strike a discovery request."""
        return self._strike(lambda target: target.discovery and target.service in ("", service))

    def refuses(self, service: str, instance: str) -> bool:
        """Whether an instance refuses new connections."""
        return any(
            fault.type == "refuse" and fault.target.service == service and fault.target.instance in ("", instance)
            for fault in self
        )

    def _strike(self, matches: Callable[[Target], bool]) -> list[Fault]:
        if not self._active:
            return []
        now = self._seconds()
        return [
            active.fault
            for active in list(self._active.values())
            if matches(active.fault.target) and not active.has_ended(now) and active.strikes(self._rng)
        ]

    def _changed(self) -> None:
        for tell in self.on_change:
            tell()
