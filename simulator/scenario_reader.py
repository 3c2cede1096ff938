"""Builds a scenario from TOML's tables; every error gives the path of the wrong value."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from simulator.advertising import check_advertise
from simulator.expectations import METRICS, Expectation
from simulator.faults import Fault, FaultError
from simulator.processors import ProcessorError
from simulator.processors import find as find_processor
from simulator.roster import Roster
from simulator.scenario_model import DEFAULT_LENGTH_S, Scenario, ScenarioError
from simulator.scenario_values import fail, known, number, table, tables, text, wrong
from simulator.service_spec import DEFAULT_SERVICES, MAX_INSTANCES, ServiceSpec, SpecError, check_new_name, check_weight
from simulator.timeline import VERBS, TimelineStep

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LENGTH_S = 86_400.0
MAX_CALLS_PER_S = 100_000.0
_FIELDS = ("title", "story", "seed", "length_s", "advertise", "services", "client", "faults", "timeline", "expect")
_SERVICE_FIELDS = (
    "name", "instances", "weights", "token", "processor", "workers", "queue", "processing", "keepalive_s", "rate_limit",
    "zones", "gateway", "capture_bytes", "queue_service", "queue_workers", "input_length", "sink_length",
    "max_payload_bytes",
)  # fmt: skip
_EXPECT_FIELDS = ("what", "of", "min", "max", "is", "from_s", "until_s")


def parse(given: dict[str, Any]) -> Scenario:
    """Build the scenario that the tables describe.

    Raises:
        ScenarioError: The tables are invalid; the text begins with the path of the wrong value.
    """
    known("$", given, _FIELDS, "a scenario")
    services = tuple(_service(f"$.services[{at}]", row) for at, row in enumerate(tables(given, "services")))
    names = [spec.name for spec in services]
    for at, name in enumerate(names):
        try:
            check_new_name(name, names[:at])
        except SpecError as error:
            fail(f"$.services[{at}].name", str(error))
    roster = Roster(services or DEFAULT_SERVICES)
    faults = [
        TimelineStep(0.0, "fault", fault=_fault(f"$.faults[{at}]", row, roster))
        for at, row in enumerate(tables(given, "faults"))
    ]
    length_s = number("$.length_s", given.get("length_s", DEFAULT_LENGTH_S), 0, MAX_LENGTH_S)
    return Scenario(
        title=text("$.title", given.get("title", "")),
        story=text("$.story", given.get("story", "")),
        seed=None if given.get("seed") is None else int(number("$.seed", given["seed"], -inf, inf, whole=True)),
        length_s=length_s,
        services=services,
        advertise=_advertise(given.get("advertise", "")),
        client=table("$.client", given.get("client", {})),
        timeline=(*faults, *_timeline(tables(given, "timeline"), roster)),
        expectations=tuple(
            _expectation(f"$.expect[{at}]", row, roster) for at, row in enumerate(tables(given, "expect"))
        ),
    )


def _advertise(given: Any) -> str:
    try:
        return check_advertise(given)
    except SpecError as error:
        raise ScenarioError(f"$.advertise: {error}") from None


# -- services


def _service(path: str, row: dict[str, Any]) -> ServiceSpec:
    known(path, row, _SERVICE_FIELDS, "a service")
    if "name" not in row:
        fail(f"{path}.name", "missing")
    try:
        spec = ServiceSpec(**row)
        find_processor(spec.processor, spec.name)
    except (SpecError, ProcessorError, TypeError) as error:
        fail(path, str(error))
    return spec


# -- the timeline


def _timeline(rows: Sequence[dict[str, Any]], roster: Roster) -> list[TimelineStep]:
    """Read the steps in the order of time, and validate each against the instances that exist at its time."""
    timed = [
        (number(f"$.timeline[{at}].at_s", row.get("at_s"), 0, MAX_LENGTH_S), at, row) for at, row in enumerate(rows)
    ]
    return [_step(f"$.timeline[{at}]", at_s, row, roster) for at_s, at, row in sorted(timed, key=lambda item: item[:2])]


def _step(path: str, at_s: float, row: dict[str, Any], roster: Roster) -> TimelineStep:
    do = row.get("do", "say")
    if not isinstance(do, str) or do not in VERBS:
        wrong(f"{path}.do", f"one of {', '.join(VERBS)}", do)
    takes = ["instance" if name == "instances" else name for name in VERBS[do].takes]
    known(path, row, ("at_s", "do", "says", *takes), f"{do!r}")
    values: dict[str, Any] = {"says": text(f"{path}.says", row.get("says", ""))}
    if "service" in takes:
        values["service"] = _service_name(f"{path}.service", row.get("service"), roster)
        values |= _who(path, row, values["service"], roster)
    if do == "fault":
        values["fault"] = _fault(f"{path}.fault", row.get("fault"), roster)
    if do == "reweigh" and "weight" not in row:
        fail(f"{path}.weight", "missing")
    if do == "traffic" and "calls_per_s" not in row:
        fail(f"{path}.calls_per_s", "missing")
    values |= {name: _VALUES[name](f"{path}.{name}", row[name]) for name in takes if name in row and name in _VALUES}
    step = TimelineStep(at_s, do, **values)
    roster.take(step)
    return step


def _service_name(path: str, given: Any, roster: Roster) -> str:
    if given is None:
        if len(roster.services) > 1:
            wrong(path, f"one of {', '.join(roster.services)}", given)
        return next(iter(roster.services))
    if not isinstance(given, str) or given not in roster.services:
        wrong(path, f"one of {', '.join(roster.services)}", given)
    return given


def _who(path: str, row: dict[str, Any], service: str, roster: Roster) -> dict[str, Any]:
    given = row.get("instance", [])
    instances = tuple([given] if isinstance(given, str) else given if isinstance(given, list) else [given])
    for instance in instances:
        if not isinstance(instance, str) or instance not in roster.services[service]:
            wrong(f"{path}.instance", f"an instance of {service} that exists then: {roster.says(service)}", instance)
    zone = row.get("zone", "")
    if zone and zone not in roster.zones(service):
        wrong(f"{path}.zone", f"one of {', '.join(roster.zones(service)) or 'no zones at all'}", zone)
    return {"instances": instances, "zone": zone}


def _fault(path: str, given: Any, roster: Roster) -> Fault:
    try:
        fault = Fault.from_json(given)
    except FaultError as error:
        raise ScenarioError(f"{path}{str(error).removeprefix('$')}") from None
    target = fault.target
    if target.service and target.service not in roster.services:
        wrong(f"{path}.target.service", f"one of {', '.join(roster.services)}", target.service)
    if target.instance and target.instance not in roster.services[target.service]:
        wrong(f"{path}.target.instance", f"one of {roster.says(target.service)}", target.instance)
    if target.zone and target.zone not in roster.zones(target.service):
        wrong(f"{path}.target.zone", f"one of {', '.join(roster.zones(target.service)) or 'no zones'}", target.zone)
    return fault


# -- expectations


def _expectation(path: str, row: dict[str, Any], roster: Roster) -> Expectation:
    known(path, row, _EXPECT_FIELDS, "an expectation")
    what = row.get("what")
    if not isinstance(what, str) or what not in METRICS:
        wrong(f"{path}.what", f"one of {', '.join(METRICS)}", what)
    metric = METRICS[what]
    of = str(row.get("of", ""))
    if of and not metric.of:
        fail(f"{path}.of", f"{what} takes no of")
    if of and metric.of == "an instance's id" and not any(of in seen for seen in roster.ever.values()):
        wrong(f"{path}.of", "an instance that exists at some time", of)
    if not metric.has_window and ("from_s" in row or "until_s" in row):
        fail(path, f"{what} counts over the whole scenario; it takes no from_s and no until_s")
    low, high = (_bound(path, row, name) for name in ("min", "max"))
    if "is" in row:
        low = high = _bound(path, row, "is")
    if low is None and high is None:
        fail(path, "needs min, max or is")
    from_s = number(f"{path}.from_s", row.get("from_s", 0), 0, MAX_LENGTH_S)
    until_s = number(f"{path}.until_s", row["until_s"], 0, MAX_LENGTH_S) if "until_s" in row else None
    return Expectation(what, of, low, high, from_s, until_s)


def _bound(path: str, row: dict[str, Any], name: str) -> float | None:
    return number(f"{path}.{name}", row[name], -inf, inf) if name in row else None


# -- values


def _weight(path: str, given: Any) -> float:
    try:
        return check_weight(given)
    except SpecError as error:
        raise ScenarioError(f"{path}: {error}") from None


_VALUES: dict[str, Any] = {
    "weight": _weight,
    "count": lambda path, given: int(number(path, given, 1, MAX_INSTANCES, whole=True)),
    "grace_s": lambda path, given: number(path, given, 0, MAX_LENGTH_S),
    "calls_per_s": lambda path, given: number(path, given, 0, MAX_CALLS_PER_S),
    "name": text,
}
