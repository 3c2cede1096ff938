"""Faults inside the clients' processes: exceptions at fault points, stalls, and changes of their clocks.

A public method that takes a step and its instances carries out the fault kind of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.virtual.faults.catalog import KINDS
from simulator.virtual.faults.undo import all_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.virtual.faults.undo import Undo
    from simulator.virtual.network.reactor import VirtualReactor
    from simulator.virtual.plan import PlannedFault

_CALLBACKS = ("on_message_begin", "on_headers_complete", "on_body", "on_message_complete")
"""The parser's callbacks; httptools reads these attributes when a connection is made."""


class ClientFaults:
    """Carries out faults on the clients' hosts.

    Args:
        hosts: The clients' reactors.
        on_listener: Adds a misbehaving listener to each client of a host; returns the functions that remove them.
    """

    def __init__(
        self, hosts: Sequence[VirtualReactor], on_listener: Callable[[VirtualReactor], Sequence[Undo]]
    ) -> None:
        self._hosts = hosts
        self._on_listener = on_listener

    def listener_raises(self, step: PlannedFault, _: Any) -> Undo:
        """Add listeners that raise exceptions or cancel calls to the clients."""
        ended = [undo for host in self.chosen(step) for undo in self._on_listener(host)]
        return all_of([self.fail_at(step, KINDS[step.kind].point), *ended])

    listener_cancels = listener_raises

    def parser_raises(self, step: PlannedFault, _: Any) -> Undo:
        """Wrap the parser callbacks of connections that are made from now on, so that they may raise.

        The class of the connections is not known before the first connection is made, so `made` wraps the callbacks.
        """
        hosts, ended = self.chosen(step), self.fail_at(step, "read")
        changed: dict[type, dict[str, Any]] = {}

        def made(protocol: Any) -> None:
            kind = type(protocol)
            if kind not in changed and hasattr(kind, _CALLBACKS[0]):
                changed[kind] = {name: getattr(kind, name) for name in _CALLBACKS}
                for name in _CALLBACKS:
                    setattr(kind, name, _raising(changed[kind][name]))

        for host in hosts:
            host.on_protocol = made

        def undo() -> None:
            ended()
            for host in hosts:
                host.on_protocol = None
            for kind, callbacks in changed.items():
                for name, callback in callbacks.items():
                    setattr(kind, name, callback)

        return undo

    def fail_at(self, step: PlannedFault, point: str) -> Undo:
        """Make a fault point of the clients' processes fail."""
        error, probability = step.with_["error"], step.with_["probability"]
        return all_of(
            host.failing.begin(f"{point} {step.with_['at']}" if "at" in step.with_ else point, error, probability)
            for host in self.chosen(step)
        )

    def chosen(self, step: PlannedFault) -> Sequence[VirtualReactor]:
        """Return the hosts that a step affects."""
        return self._hosts if step.where < 0 else [self._hosts[step.where % len(self._hosts)]]

    def stall(self, step: PlannedFault, _: Any) -> None:
        """Stall the reactors of the hosts for the length of the fault."""
        for host in self.chosen(step):
            host.stall(step.for_s)

    def jump_ahead(self, step: PlannedFault, _: Any) -> None:
        """Set the clock that a host's timers use forward."""
        for host in self.chosen(step):
            host.jump(step.with_["by_s"])

    def jump_back(self, step: PlannedFault, _: Any) -> None:
        """Set the clock that a host's timers use back."""
        for host in self.chosen(step):
            host.jump(-step.with_["by_s"])

    def wall_ahead(self, step: PlannedFault, _: Any) -> None:
        """Set a host's wall clock forward."""
        for host in self.chosen(step):
            host.set_wall_clock(step.with_["by_s"])

    def wall_back(self, step: PlannedFault, _: Any) -> None:
        """Set a host's wall clock back."""
        for host in self.chosen(step):
            host.set_wall_clock(-step.with_["by_s"])


def _raising(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a callback of a connection, so that it may raise while a fault of its host is active."""

    def raise_or_call(connection: Any, *given: Any) -> Any:
        failing = connection.transport.reactor.failing
        if failing.is_on:
            failing.check("read")
        return callback(connection, *given)

    return raise_or_call
