"""The fault injector: begins and ends the faults of a schedule, on the network, the fleet and the clients' hosts.

This module has the faults of instances, connections and the control plane; other modules have the other faults. Faults
may overlap: each adds its state to a list of its instance or link, and the last entry is in effect. The end of a fault
removes only the entry of this fault.
"""

from __future__ import annotations

from socket import SHUT_WR
from typing import TYPE_CHECKING, Any

from simulator.faults import Fault, Target
from simulator.instance import State
from simulator.virtual.faults.catalog import KINDS, REWRITTEN, Scope
from simulator.virtual.faults.client_faults import ClientFaults
from simulator.virtual.faults.link_faults import LinkFaults
from simulator.virtual.faults.operator_changes import OperatorChanges
from simulator.virtual.faults.undo import Each, all_of, nothing
from simulator.virtual.plan import AT_QUEUE
from simulator.virtual.reporting.formatting import few, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.fleet import Service
    from simulator.instance import SimulatedInstance
    from simulator.simulator import Simulator
    from simulator.virtual.checkers.work_per_turn import Meter
    from simulator.virtual.faults.agents import MisbehavingAgent
    from simulator.virtual.faults.rewriting import Rewriting
    from simulator.virtual.faults.undo import Undo
    from simulator.virtual.network.link_conditions import Link
    from simulator.virtual.network.network import Network
    from simulator.virtual.network.reactor import VirtualReactor
    from simulator.virtual.network.sockets import VirtualSocket
    from simulator.virtual.plan import PlannedFault

_STRAYS = 0.5
_STRAY = (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray", b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"\r\n")
_STATES = {"crash": State.CRASHED, "hang": State.HUNG, "drain": State.DRAINING}


class FaultInjector:
    """Carries out the faults of a plan.

    Args:
        network: The network.
        simulator: The fleet and its control plane.
        services: The services whose instances are affected; operators change the first one.
        hosts: The clients' reactors.
        zones: Number of zones; instance i is in zone i modulo `zones`.
        rewriting: Changes the messages of discovery and instances.
        on_burst: Starts a number of concurrent calls on one host; with `None`, on each host.
        on_listener: Adds a misbehaving listener to each client of a host; returns the functions that remove them.
        on_stray: Called with each client connection on which bytes arrive without a request.
        meter: Creates the meter of a client host's work.
        queue: The queue service; `None` for none.
        on_kill: Kills a consumer of the queue, by number; returns the function that starts it again.
        agent: The misbehaving agent of the program that calls through the gateway; `None` for none.
    """

    def __init__(  # noqa: PLR0913  all but the first five are keywords
        self,
        network: Network,
        simulator: Simulator,
        services: Sequence[Service],
        hosts: Sequence[VirtualReactor],
        zones: int,
        *,
        rewriting: Rewriting,
        on_burst: Callable[[int, VirtualReactor | None], None],
        on_listener: Callable[[VirtualReactor], Sequence[Undo]],
        on_stray: Callable[[VirtualSocket], None],
        agent: MisbehavingAgent | None,
        meter: Callable[[VirtualReactor], Meter],
        queue: Service | None = None,
        on_kill: Callable[[int], Undo] | None = None,
    ) -> None:
        self._network = network
        self._simulator = simulator
        self._services = services
        self._service = services[0]
        self._hosts = hosts
        self._zones = zones
        self._rewriting = rewriting
        self._on_burst = on_burst
        self._on_stray = on_stray
        self._agent = agent
        self._meter = meter
        self._links = LinkFaults(network)
        self._client_faults = ClientFaults(hosts, on_listener)
        self._operator_changes = OperatorChanges(self._service, network.scheduler.call_later)
        self._queue = queue
        self._on_kill = on_kill
        self._states: dict[SimulatedInstance, list[State]] = {}
        self._rng = network.scheduler.stream("acts")
        self._names = 0

    def good_conditions(self, latency_s: float, jitter_s: float) -> None:
        """Set the conditions of links without faults."""
        self._links.good_conditions(latency_s, jitter_s)

    # -- targets

    def targets(self, step: PlannedFault) -> list[SimulatedInstance]:
        """Return the existing instances that a step affects."""
        scope = KINDS[step.kind].scope
        if step.where >= AT_QUEUE:
            there = list(self._queue.instances.values()) if self._queue is not None else []
            return there[(step.where - AT_QUEUE) % len(there) :][:1] if there else []
        there = list(self._service.instances.values())
        if scope is Scope.INSTANCE:
            there += [one for service in self._services[1:] for one in service.instances.values()]
        if scope is Scope.ZONE:
            return [instance for at, instance in enumerate(there) if at % self._zones == step.where % self._zones]
        if scope not in (Scope.INSTANCE, Scope.MEMBER) or not there:
            return []
        return there if step.where < 0 else [there[step.where % len(there)]]

    def whom(self, step: PlannedFault) -> str:
        """Describe the targets of a step, for the event log."""
        scope, targets = KINDS[step.kind].scope, self.targets(step)
        if scope is Scope.CONTROL:
            return " on discovery"
        if scope is Scope.GATEWAY:
            return " on the gateway's client"
        if scope is Scope.NAMES:
            return " on the name server"
        if scope is Scope.CONSUMER:
            return f" on consumer {step.where}"
        if scope in (Scope.CLIENT, Scope.INSIDE):
            return f" on client {step.where % len(self._hosts)}"
        names = few(f"{one.id} {spelled((one.ip, one.port))}" for one in targets)
        return f" on {names}" if names else ""

    # -- execution

    def begin(self, step: PlannedFault) -> Undo:
        """Begin the fault of a step; return the function that ends it."""
        kind, instances = KINDS[step.kind], self.targets(step)
        if kind.fault:
            return self._fault(step, kind.fault, instances)
        act = self._act(step.kind)
        if act is not None:
            return act(step, instances) or nothing
        if kind.point:
            return self._client_faults.fail_at(step, kind.point)
        if step.kind in REWRITTEN:
            return self._rewriting.begin_list(step.kind, step.with_)
        if step.kind in _STATES:
            return all_of(self._be(instance, _STATES[step.kind]) for instance in instances)
        return all_of(self._links.worsen(self._link(instance), step) for instance in instances)

    def _act(self, kind: str) -> Callable[[PlannedFault, Sequence[SimulatedInstance]], Undo | None] | None:
        """Return the method that carries out a fault kind; `None` for kinds that `begin` handles without a method."""
        own = getattr(self, f"_{kind}", None)
        return own or getattr(self._client_faults, kind, None) or getattr(self._operator_changes, kind, None)

    def _fault(self, step: PlannedFault, type_: str, instances: Sequence[SimulatedInstance]) -> Undo:
        taken = {name: value for name, value in step.with_.items() if name != "probability"}
        targets = [Target(instance.service.name, instance.id) for instance in instances] or [Target(discovery=True)]
        names = []
        for target in targets:
            self._names += 1
            names.append(f"{step.kind}-{self._names}")
            self._simulator.faults.add(
                Fault(
                    type_,
                    target=target,
                    attributes=taken,
                    name=names[-1],
                    probability=step.with_.get("probability", 1.0),
                )
            )
        return Each([(self._simulator.faults.remove, (name,)) for name in names])

    def _be(self, instance: SimulatedInstance, state: State) -> Undo:
        marks = self._states.setdefault(instance, [])
        marks.append(state)
        instance.set_state(state)

        def undo() -> None:
            marks.remove(state)
            if instance.id in instance.service.instances:
                instance.set_state(marks[-1] if marks else State.RUNNING)

        return undo

    # -- links

    def _link(self, instance: SimulatedInstance) -> Link:
        return self._network.link((instance.ip, instance.port))

    def _full_queue(self, _: PlannedFault, instances: Sequence[SimulatedInstance]) -> Undo:
        addresses = [(instance.ip, instance.port) for instance in instances]
        for address in addresses:
            self._network.close_queue(address)
        return Each([(self._network.open_queue, (address,)) for address in addresses])

    def _power_loss(self, _: PlannedFault, instances: Sequence[SimulatedInstance]) -> Undo:
        """Cut an instance off and stop it, so that the resets of its connections do not arrive."""
        ends = []
        for instance in instances:
            ends += [self._links.mark(self._link(instance).ways, {"is_hole": True}), self._be(instance, State.CRASHED)]
        return all_of(ends)

    def _zone_loss(self, _: PlannedFault, instances: Sequence[SimulatedInstance]) -> Undo:
        return all_of(self._be(instance, State.CRASHED) for instance in instances)

    def _zone_hole(self, _: PlannedFault, instances: Sequence[SimulatedInstance]) -> Undo:
        return all_of(self._links.mark(self._link(instance).ways, {"is_hole": True}) for instance in instances)

    # -- connections

    def _repeat(self, step: PlannedFault, instances: Sequence[SimulatedInstance], verb: str, *, idle: bool) -> Undo:
        """Repeatedly call the method `verb` of the instances' idle connections, or of their busy connections."""
        return self._again(step, lambda: [getattr(c, verb)() for c in _connections(instances, idle=idle)])

    def _again(self, step: PlannedFault, act: Callable[[], object]) -> Undo:
        """Call `act` repeatedly, at random intervals of `every_s` seconds on average."""
        ended: list[bool] = []

        def again() -> None:
            if ended:
                return
            act()
            self._network.scheduler.call_later(step.with_["every_s"] * (0.5 + self._rng.random()), again)

        again()
        return lambda: ended.append(True)

    def _idle_fin(self, step: PlannedFault, instances: Sequence[SimulatedInstance]) -> Undo:
        return self._repeat(step, instances, "close", idle=True)

    def _idle_rst(self, step: PlannedFault, instances: Sequence[SimulatedInstance]) -> Undo:
        return self._repeat(step, instances, "reset", idle=True)

    def _busy_rst(self, step: PlannedFault, instances: Sequence[SimulatedInstance]) -> Undo:
        return self._repeat(step, instances, "reset", idle=False)

    def _half_close(self, step: PlannedFault, instances: Sequence[SimulatedInstance]) -> Undo:
        """Repeatedly end the sending direction of the connections that carry a stream."""

        def act() -> None:
            for running in [running for instance in instances for running in instance.streams]:
                # The transport's `loseWriteConnection` would wait for the producer of the stream.
                socket = running.request.connection.transport.socket
                if not socket.is_dead:
                    socket.shutdown(SHUT_WR)

        return self._again(step, act)

    def _clog(self, _: PlannedFault, instances: Sequence[SimulatedInstance]) -> Undo:
        """Stop some connections one after the other, and resume them in another order, like FoundationDB's swizzle."""
        addresses = {(instance.ip, instance.port) for instance in instances}
        sockets = [s for s in self._network.sockets if s.here in addresses or s.there in addresses]
        chosen = [socket for socket in sockets if self._rng.random() < 0.7]  # noqa: PLR2004  most of them
        for socket in chosen:
            self._network.clog(socket)

        def undo() -> None:
            self._rng.shuffle(chosen)
            for at, socket in enumerate(chosen):
                self._network.scheduler.call_later(at * 0.01, self._network.unclog, socket)

        return undo

    def _no_length(self, step: PlannedFault, instances: Sequence[SimulatedInstance]) -> Undo:
        return all_of(self._rewriting.begin_answers((instance.ip, instance.port), step.with_) for instance in instances)

    def _stray_bytes(self, step: PlannedFault, _: Any) -> Undo:
        """Repeatedly send bytes to a client's idle connections while the client starts calls.

        The bytes arrive at random times, also between the client's last check of a socket and the next request on it.
        """
        ended: list[bool] = []
        later, rng = self._network.scheduler.call_later, self._rng

        def again() -> None:
            if ended:
                return
            for host in self._client_faults.chosen(step):
                busy_s = step.with_["busy_s"] * rng.random()
                if busy_s:
                    self._on_burst(rng.randint(1, 4), host)
                    host.stall(busy_s)
                later(busy_s * rng.random(), self._stray, host)
            later(step.with_["every_s"] * (0.5 + rng.random()), again)

        again()
        return lambda: ended.append(True)

    def _stray(self, host: VirtualReactor) -> None:
        """Send bytes to some of the connections that are idle on this host."""
        addresses = {(one.ip, one.port) for service in self._services for one in service.instances.values()}
        for near in [near for near in self._network.sockets if near.reactor is host and near.there in addresses]:
            if near.is_quiet and self._rng.random() < _STRAYS:
                self._on_stray(near)
                near.receive_stray(self._rng.choice(_STRAY))

    # -- clients and the control plane

    def _control_link(self) -> Link:
        host, _, port = self._simulator.authority.rpartition(":")
        return self._network.link((host, int(port)))

    def _control_hole(self, _: PlannedFault, __: Any) -> Undo:
        return self._links.mark(self._control_link().ways, {"is_hole": True})

    def _control_slow(self, step: PlannedFault, _: Any) -> Undo:
        return self._links.worsen(self._control_link(), step)

    def _names_fail(self, step: PlannedFault, _: Any) -> Undo:
        return self._network.names.begin(step.kind, step.with_)

    _names_stall = _names_fail

    def _agent_fails(self, step: PlannedFault, _: Any) -> Undo:
        return nothing if self._agent is None else self._agent.begin(step.kind, step.with_)

    _agent_raises = _agent_answers_early = _agent_never_answers = _agent_answers_twice = _agent_fails

    def _consumer_killed(self, step: PlannedFault, _: Any) -> Undo:
        return nothing if self._on_kill is None else self._on_kill(step.where)

    def _list_many_rows(self, step: PlannedFault, _: Any) -> Undo:
        """Let discovery return a long list, and count the work of each turn of the clients during this fault."""
        for host in self._hosts:
            host.meter = self._meter(host)
        end = self._rewriting.begin_list(step.kind, step.with_)

        def undo() -> None:
            end()
            for host in self._hosts:
                host.meter = None

        return undo

    def _burst(self, step: PlannedFault, _: Any) -> None:
        self._on_burst(step.with_["calls"], None)


def _connections(instances: Sequence[SimulatedInstance], *, idle: bool) -> list[Any]:
    """Return the idle connections of instances; if `idle` is false, their busy connections."""
    return [c for instance in instances for c in list(instance.server.connections) if c.is_idle is idle]
