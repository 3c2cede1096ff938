"""Bugs of state that clients of one process share by mistake."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from eas_tw.client import PredictClient
from eas_tw.net.call_context import CallContext
from eas_tw.net.upstream import Pools
from tests.simulation.planted.bugs import Patch, bug


@bug(
    "response-matches-request connection-use last-good-list failure-explained "
    "exact-shares nothing-left recovers-after-heal retry-budget",
    seeds=100,
)
def pools_keyed_by_port(patch: Patch) -> None:
    """Two instances with the same port share one pool."""
    of = Pools.of

    def by_port(self: Pools, instance: Any) -> Any:
        known = self.__dict__.setdefault("by_port", {})
        pool = known.get(instance.port)
        if pool is None or pool._is_retired:
            pool = known[instance.port] = of(self, instance)
        return pool

    patch(Pools, "of", by_port)


@bug("failure-explained retry-budget", "budget", 60)
def budget_shared_between_services(patch: Patch) -> None:
    """All clients of a reactor share one retry budget."""
    init = CallContext.__init__
    shared: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def share(self: CallContext, reactor: Any, policy: Any, budget: Any, *given: Any, **named: Any) -> None:
        init(self, reactor, policy, shared.setdefault(reactor, budget), *given, **named)

    patch(CallContext, "__init__", share)


@bug("disk-copy", "chaos", 60)
def disk_copy_preferred_to_discovery(patch: Patch) -> None:
    """The disk copy replaces the list from discovery."""
    from eas_tw.runtime import ClientRuntime  # noqa: PLC0415

    ready = ClientRuntime.ready

    async def prefer(self: Any) -> None:
        await ready(self)
        if self._disk_copy is not None:
            self._use_disk_copy()

    patch(ClientRuntime, "ready", prefer)


@bug("kept-after-close", seeds=100)
def closed_children_are_kept(patch: Patch) -> None:
    child = PredictClient.child

    def keep(self: PredictClient, *given: Any, **named: Any) -> PredictClient:
        made = child(self, *given, **named)
        self.__dict__.setdefault("ever", []).append(made)
        return made

    patch(PredictClient, "child", keep)
