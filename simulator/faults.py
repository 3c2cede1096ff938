"""Faults as immutable values with type, target, attributes and schedule.

Tests, TOML files, the admin API and the simulation use the same values. A fault is validated on construction with the
table of `fault_kinds`; an error gives the path of the wrong value. `fault_registry` decides when a fault applies, and
instances and the control plane carry it out.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Never

from attrs import evolve, field, frozen

from simulator.fault_kinds import DAY_S, ON_DISCOVERY, ON_INSTANCES, Attribute, FaultKind

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 10**9
_NAME = Attribute("name", "", "name; generated when empty", "string", high=100)
_PROBABILITY = Attribute("probability", 1.0, "probability to apply at each opportunity", high=1)
_TIMES = Attribute(
    "times",
    None,
    "number of activations after which it ends; null for no limit",
    "integer",
    low=1,
    high=_MOST,
    is_optional=True,
)
_SKIP = Attribute("skip", 0, "number of first opportunities at which it does not apply", "integer", high=_MOST)
_DURATION = Attribute(
    "duration_s", None, "time until it ends; null for no limit", unit="seconds", high=DAY_S, is_optional=True
)
WHEN = (_NAME, _PROBABILITY, _TIMES, _SKIP, _DURATION)
"""The attributes that every fault has in addition to its type, its target and the attributes of its type."""

_PLACES = {
    "service": "the service; for `group/service` the whole name",
    "instance": "the instance; if absent, all instances of the service",
    "zone": "the zone whose instances are affected; if absent, all zones",
}


class FaultError(ValueError):
    """Raised for an invalid fault; the text begins with the path of the wrong value."""


@frozen
class Target:
    """The target of a fault: discovery, or instances of a service.

    An empty `instance` or `zone` matches all instances of the service. On discovery, an empty `service` matches all
    services.
    """

    service: str = ""
    instance: str = ""
    discovery: bool = False
    zone: str = ""

    def __attrs_post_init__(self) -> None:
        for name in _PLACES:
            if not isinstance(getattr(self, name), str):
                _wrong(f"$.target.{name}", "a name", getattr(self, name))
        if not isinstance(self.discovery, bool):
            _wrong("$.target.discovery", "true", self.discovery)
        if self.discovery and (self.instance or self.zone):
            raise FaultError("$.target: discovery has no instance and no zone; it may name a service")
        if not (self.discovery or self.service):
            raise FaultError("$.target: needs a service, or discovery")

    @classmethod
    def from_json(cls, given: Any) -> Target:
        """Parse a target from a JSON object; raise `FaultError` if it is invalid."""
        if not isinstance(given, dict) or not given:
            _wrong("$.target", 'an object such as {"service": "s", "instance": "s-0"} or {"discovery": true}', given)
        for name in given:
            if name != "discovery" and name not in _PLACES:
                raise FaultError(
                    f"$.target.{name}: unknown; a target has service, instance and zone, or discovery and service"
                )
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Return the target as the admin API represents it."""
        named = {name: getattr(self, name) for name in _PLACES if getattr(self, name)}
        return ({"discovery": True} if self.discovery else {}) | named

    def matches(self, service: str, instance: str, zone: str) -> bool:
        """Return whether the target includes an instance."""
        return (
            not self.discovery
            and self.service == service
            and self.instance in ("", instance)
            and self.zone in ("", zone)
        )


def _frozen(attributes: Any) -> Any:
    return MappingProxyType(dict(attributes)) if isinstance(attributes, dict) else attributes


@frozen
class Fault:
    """A fault: its type, target, attributes and schedule.

    Attributes:
        type: A key of `ON_INSTANCES` or `ON_DISCOVERY`.
        target: Discovery, or the instances to which the fault applies.
        attributes: Attributes of the type; absent ones have their defaults.
        name: Name of the fault; generated when empty.
        probability: Probability to apply at each opportunity, 0 to 1.
        times: Number of activations after which the fault ends; `None` for no limit.
        skip: Number of first opportunities at which the fault does not apply.
        duration_s: Seconds until the fault ends; `None` for no limit.
    """

    type: str
    target: Target = field(factory=lambda: Target(discovery=True))
    attributes: Mapping[str, Any] = field(factory=dict, converter=_frozen)
    name: str = ""
    probability: float = 1.0
    times: int | None = None
    skip: int = 0
    duration_s: float | None = None

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.target, Target):
            _wrong("$.target", "a Target", self.target)
        where = "discovery" if self.target.discovery else "instances"
        kinds = kinds_on(self.target)
        if not isinstance(self.type, str) or self.type not in kinds:
            text = f"$.type: expected one of {', '.join(kinds)} on {where}, got {self.type!r}"
            if self.type in (*ON_INSTANCES, *ON_DISCOVERY):
                other = "a service or an instance" if self.target.discovery else "discovery"
                text += f", which acts on {other}: change the target"
            raise FaultError(text)
        for attribute in WHEN:
            value = getattr(self, attribute.name)
            if not attribute.accepts(value):
                _wrong(f"$.{attribute.name}", attribute.expected, value)
        if "/" in self.name or not self.name.isprintable():
            _wrong("$.name", "printable characters without /", self.name)
        self._check_attributes()

    def _check_attributes(self) -> None:
        if not isinstance(self.attributes, MappingProxyType):
            _wrong("$.attributes", "an object", self.attributes)
        for name, value in self.attributes.items():
            if name not in self.kind.attributes:
                allowed = ", ".join(self.kind.attributes) or "none"
                raise FaultError(f"$.attributes.{name}: unknown; {self.type} takes {allowed}")
            attribute = self.kind.attributes[name]
            if not attribute.accepts(value):
                _wrong(f"$.attributes.{name}", attribute.expected, value)

    @property
    def kind(self) -> FaultKind:
        """The fault kind of the fault's type."""
        return kinds_on(self.target)[self.type]

    def get(self, attribute: str) -> Any:
        """Return an attribute's value, or its default."""
        return self.attributes.get(attribute, self.kind.attributes[attribute].default)

    @property
    def is_always(self) -> bool:
        """Whether the fault applies at every opportunity while it is active."""
        return self.probability == 1 and self.times is None and not self.skip

    def named(self, name: str) -> Fault:
        """Return a copy with another name."""
        return evolve(self, name=name, attributes=dict(self.attributes))

    @classmethod
    def from_json(cls, given: Any) -> Fault:
        """Parse a fault from an object of the admin API or a scenario.

        Raises:
            FaultError: The object is not a valid fault; the text begins with the path of the wrong value.
        """
        if not isinstance(given, dict):
            _wrong("$", "an object", given)
        known = ["type", "target", "attributes", *(attribute.name for attribute in WHEN)]
        for name in given:
            if name not in known:
                raise FaultError(f"$.{name}: unknown; a fault has {', '.join(known)}")
        if "type" not in given:
            raise FaultError("$.type: missing")
        attributes = given.get("attributes")
        target = Target.from_json(given.get("target"))
        return cls(**{**given, "target": target, "attributes": {} if attributes is None else attributes})

    def to_json(self) -> dict[str, Any]:
        """Return the fault as the admin API represents it."""
        return {
            "name": self.name,
            "type": self.type,
            "target": self.target.to_json(),
            "attributes": dict(self.attributes),
            **{attribute.name: getattr(self, attribute.name) for attribute in WHEN if attribute is not _NAME},
        }


def kinds_on(target: Target) -> Mapping[str, FaultKind]:
    """Return the fault kinds that can apply to a target."""
    return ON_DISCOVERY if target.discovery else ON_INSTANCES


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of faults: one alternative for each type and kind of target."""
    named = {name: {"type": "string", "description": says} for name, says in _PLACES.items()}
    discovery = {"discovery": {"const": True}, "service": {**named["service"], "default": ""}}
    return {
        "oneOf": [
            *(_alternative(name, kind, named, ["service"]) for name, kind in ON_INSTANCES.items()),
            *(_alternative(name, kind, discovery, ["discovery"]) for name, kind in ON_DISCOVERY.items()),
        ]
    }


def _alternative(name: str, kind: FaultKind, place: dict[str, Any], required: list[str]) -> dict[str, Any]:
    target = {"type": "object", "properties": place, "required": required, "additionalProperties": False}
    return {
        "title": f"{name} on {'discovery' if 'discovery' in place else 'instances'}",
        "description": kind.says,
        "type": "object",
        "properties": {"type": {"const": name}, "target": target, "attributes": kind.schema()}
        | {attribute.name: attribute.schema() for attribute in WHEN},
        "required": ["type", "target"],
        "additionalProperties": False,
    }


def _wrong(path: str, expected: str, got: Any) -> Never:
    raise FaultError(f"{path}: expected {expected}, got {repr(got)[:60]}")
