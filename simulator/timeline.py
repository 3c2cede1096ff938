"""The timeline: the steps of a scenario as values, and the scheduler that carries them out on a simulator.

A step has a time, a verb and the verb's arguments. Reading, validation, execution and the documentation all use the
table of verbs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from twisted.logger import Logger

from simulator.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.faults import Fault
    from simulator.fleet import Service
    from simulator.instance import SimulatedInstance
    from simulator.simulator import Simulator

_log = Logger(namespace="simulator.timeline")


@frozen
class TimelineStep:
    """One step of a timeline.

    Attributes:
        at_s: Time of the step, in seconds from the beginning.
        do: A key of `VERBS`.
        says: Description, for people.
        service: Name of the service; empty for the first service.
        instances: Ids of the instances; empty for all of the service or of the zone.
        zone: Zone to which the instances are restricted; empty for all.
        fault: For `fault`: the fault to add.
        name: For `heal`: name of the fault to remove; empty for all.
        weight: For `reweigh` and `add`: the weight.
        count: For `add`: number of instances.
        grace_s: For `terminate`: seconds until the instance is stopped in any case.
        calls_per_s: For `traffic`: rate of the client's calls.
    """

    at_s: float
    do: str = "say"
    says: str = ""
    service: str = ""
    instances: tuple[str, ...] = ()
    zone: str = ""
    fault: Fault | None = None
    name: str = ""
    weight: float = 100
    count: int = 1
    grace_s: float = 30.0
    calls_per_s: float = 0.0

    def __str__(self) -> str:
        where = ", ".join(self.instances) or (f"zone {self.zone}" if self.zone else self.service)
        detail = {
            "fault": f"{self.fault.type} {self.fault.target.to_json()}" if self.fault else "",
            "heal": self.name or "all faults",
            "traffic": f"{self.calls_per_s:g} calls a second",
            "reweigh": f"{where} to {self.weight:g}",
            "add": f"{self.count} to {where}",
        }.get(self.do, where)
        return self.says or f"{self.do} {detail}".strip()


@frozen
class Verb:
    """A verb of the timeline.

    Attributes:
        says: Description, one line.
        takes: Fields of the step that the verb uses, in addition to `at_s`, `do` and `says`.
        act: Carries out the step; `None` if the player of the scenario carries it out.
    """

    says: str
    takes: tuple[str, ...] = ()
    act: Callable[[Simulator, TimelineStep], Any] | None = field(default=None)


_INSTANCES = ("service", "instances", "zone")


def _each(says: str, act: Callable[[SimulatedInstance, TimelineStep], Any], *takes: str) -> Verb:
    def act_on_each(world: Simulator, step: TimelineStep) -> None:
        for instance in meant(world, step):
            act(instance, step)

    return Verb(says, (*_INSTANCES, *takes), act_on_each)


def meant(world: Simulator, step: TimelineStep) -> list[SimulatedInstance]:
    """Return the instances of a step; those that no longer exist are left out."""
    return [
        instance
        for instance in list(_service(world, step).instances.values())
        if (not step.instances or instance.id in step.instances) and step.zone in ("", instance.zone)
    ]


def _service(world: Simulator, step: TimelineStep) -> Service:
    return world.services[step.service] if step.service else next(iter(world.services.values()))


def _set(instance: SimulatedInstance, **values: Any) -> None:
    for name, value in values.items():
        setattr(instance, name, value)


def _add(world: Simulator, step: TimelineStep) -> None:
    _service(world, step).add_instances([step.weight] * step.count)


def _heal(world: Simulator, step: TimelineStep) -> None:
    if step.name:
        world.faults.remove(step.name)
    else:
        world.faults.clear()


VERBS: dict[str, Verb] = {
    "say": Verb("do nothing; the step only has a text", (), lambda _, __: None),
    "crash": _each("reset all connections, refuse new ones", lambda i, _: i.crash()),
    "restart": _each("run again, on the same address", lambda i, _: i.restart()),
    "hang": _each("accept and read, but answer nothing", lambda i, _: i.hang()),
    "resume": _each("run again, and answer the requests read in the meantime", lambda i, _: i.resume()),
    "drain": _each("finish accepted requests, refuse new connections; stay in the list", lambda i, _: i.drain()),
    "terminate": _each(
        "scale in: leave the list, finish within `grace_s`, stop",
        lambda i, step: i.service.terminate(i.id, step.grace_s),
        "grace_s",
    ),
    "remove": _each("stop immediately, and leave the list", lambda i, _: i.service.remove_instance(i.id)),
    "register": _each("join the list", lambda i, _: _set(i, registered=True)),
    "deregister": _each("leave the list, but continue to run", lambda i, _: _set(i, registered=False)),
    "reweigh": _each("get another `weight` in the list", lambda i, step: _set(i, weight=step.weight), "weight"),
    "add": Verb("start `count` instances with `weight`", ("service", "count", "weight"), _add),
    "replace": Verb(
        "replace all instances by new ones on other addresses",
        ("service",),
        lambda world, step: _service(world, step).replace(),
    ),
    "fault": Verb("add `fault`", ("fault",), lambda world, step: world.faults.add(step.fault)),  # type: ignore[arg-type]
    "heal": Verb("remove the fault of that `name`, or all", ("name",), _heal),
    "traffic": Verb("change the rate of the demo's client to `calls_per_s`", ("calls_per_s",)),
}


class Timeline:
    """Carries out steps, each at its time.

    Args:
        world: The simulator.
        steps: The steps, in any order.
        told: Called with each step after it has been carried out, even if it failed.
    """

    def __init__(
        self, world: Simulator, steps: Sequence[TimelineStep], told: Callable[[TimelineStep], object] = lambda _: None
    ) -> None:
        self._world = world
        self._steps = sorted(steps, key=lambda step: step.at_s)
        self._told = told
        self._timers = Timers(world.reactor)

    def start(self) -> None:
        """Start or restart the timeline; the steps at 0 are carried out before the method returns."""
        self.stop()
        for step in self._steps:
            if step.at_s <= 0:
                self._do(step)
            else:
                self._timers.later(step.at_s, self._do, step)

    def stop(self) -> None:
        """Cancel the remaining steps."""
        self._timers.cancel()

    def _do(self, step: TimelineStep) -> None:
        act = VERBS[step.do].act
        try:
            if act is not None:
                act(self._world, step)
        except Exception:  # noqa: BLE001
            # The step may be impossible, because the fleet was changed through the admin API. The exception must not
            # stop the timeline.
            _log.failure("a step of the scenario failed: {step}", step=str(step))
        self._told(step)
