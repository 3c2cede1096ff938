"""The world of a run: real clients and the real simulator in one process, through the phases of a plan.

The phases are warm-up, chaos, heal, liveness, quiet and shutdown. The plan determines the faults, and the oracle checks
the clients.
"""

from __future__ import annotations

import gc
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from simulator.fleet import ServiceSpec
from simulator.instance import State
from simulator.processors import echo
from simulator.simulator import Simulator
from simulator.virtual import probes
from simulator.virtual.checkers.minority import DEADLY
from simulator.virtual.faults.attribution import FaultEffect
from simulator.virtual.faults.catalog import KINDS, OVERLOAD, STEPPED, Scope
from simulator.virtual.faults.injector import FaultInjector
from simulator.virtual.faults.rewriting import Rewriting
from simulator.virtual.network import reactor_guard
from simulator.virtual.network.network import Network
from simulator.virtual.network.reactor import VirtualReactor
from simulator.virtual.network.virtual_time import Scheduler
from simulator.virtual.oracle import Oracle
from simulator.virtual.programs import SERVICE, SERVICES, Programs
from simulator.virtual.queue_traffic import QUEUE, QueueTraffic
from simulator.virtual.result import Result
from simulator.virtual.stream_service import StreamService
from simulator.virtual.stream_traffic import StreamTraffic
from simulator.virtual.traffic import ClientTraffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from simulator.instance import SimulatedInstance
    from simulator.virtual.client_under_test import ClientUnderTest
    from simulator.virtual.network.sockets import Address
    from simulator.virtual.plan import PlannedFault, RunPlan

SERVER_IP = "10.0.0.1"
ENDPOINT_NAME = "endpoint.virtual"
TOKEN = "a-token-nobody-may-see"  # noqa: S105
_WARM_UP_S = 5.0
_QUIET_CALLS = 60
_QUIET_PAUSE_S = 0.1
_MANY_CALLS = 500
_BUSY = 0.2
_LONGEST_S = 600.0
_LONGEST_STREAM_S = 40.0
_LONGEST_QUEUE_S = 60.0
_BEFORE_CLOSE_S = 0.1


class Application(Protocol):
    """A program under test that runs in a world in addition to the clients."""

    def start(self, reactor: Any, url: str, service: str, token: str) -> Deferred[Any] | None:
        """Start the program.

        Args:
            reactor: Reactor of the program's host.
            url: URL of the control plane.
            service: Name of the service.
            token: Token of the service; empty for none.

        Returns:
            A Deferred that fires when the program has started; `None` if it has started.
        """

    def check(self, phase: str) -> Iterable[str]:
        """Yield a description of each violation; called every virtual second with the phase of the run."""

    def stop(self) -> Deferred[Any] | None:
        """Stop the program, which must leave no timers on its host.

        Returns:
            A Deferred that fires when the program has stopped; `None` if it has stopped.
        """


class World:
    """One run of a plan.

    Args:
        plan: The plan.
        application: Creates a program to run in addition to the clients; `None` for none.
        progress: Called every virtual second with the phase and the world; `None` for no call.

    Raises:
        ScenarioError: The plan has invalid settings of the client.
    """

    def __init__(
        self,
        plan: RunPlan,
        *,
        application: Callable[[], Application] | None = None,
        progress: Callable[[str, World], None] | None = None,
    ) -> None:
        self.plan = plan
        self._progress = progress
        self.phase = "warm-up"
        self.faults: Counter[str] = Counter()
        self.scheduler = Scheduler(plan.seed)
        self.network = Network(self.scheduler, latency_s=plan.latency_s, jitter_s=plan.jitter_s)
        self.oracle = Oracle(self.network)
        self.network.on_syn = self.oracle.dialled
        self.network.names.add(ENDPOINT_NAME, SERVER_IP)
        self._url = f"http://{ENDPOINT_NAME if plan.is_named else SERVER_IP}:40000"
        self.oracle.minority.is_on = plan.profile == "minority"
        self._server = VirtualReactor(self.network, SERVER_IP)
        self.oracle.secret = self._token = TOKEN if plan.has_token else ""
        self.simulator = Simulator(
            self._server,
            seed=plan.seed,
            host=SERVER_IP,
            services=self._specs(),
            spread_ips=plan.addresses == "hosts",
        )
        self.simulator.gateway_timeout_s = plan.gateway_timeout_s
        self._chaos_at_s = 0.0
        self._undoes: dict[int, Callable[[], None]] = {}
        self._begun = 0
        self._load_effect: FaultEffect | None = None
        programs = Programs(plan, self.network, self.oracle, self._url, self._token)
        self._clocks = programs.clocks
        self.clients_under_test = [programs.client_under_test(number) for number in range(plan.clients)]
        self._hosts = [sut.reactor for sut in self.clients_under_test]
        if plan.services > 1:
            parents = self.clients_under_test[::2]
            self.clients_under_test += [programs.child(plan.clients + at, parent) for at, parent in enumerate(parents)]
        for sut in self.clients_under_test:
            self.oracle.add(sut)
        self.traffic = [ClientTraffic(sut, plan, self.oracle, self.scheduler) for sut in self.clients_under_test]
        self._streams = [StreamTraffic(sut, plan, self.oracle, self.scheduler) for sut in self.clients_under_test]
        self._all_traffic: list[ClientTraffic | StreamTraffic] = [*self.traffic, *self._streams]
        self.oracle.streams.address_of = self._address_of
        self.oracle.cancel_all = {
            sut.number: partial(_cancel_all, traffic, streams)
            for sut, traffic, streams in zip(self.clients_under_test, self.traffic, self._streams, strict=True)
        }
        self._rewriting = Rewriting(self.scheduler.stream("rewriting"))
        self._gateway = self.oracle.gateway = programs.gateway_calls() if plan.gateway else None
        self._queues = programs.queue_traffic(self.simulator.services[QUEUE]) if plan.queue_per_s else None
        self._injector = FaultInjector(
            self.network,
            self.simulator,
            [service for service in self.simulator.services.values() if service.queues is None],
            self._hosts,
            plan.zones,
            rewriting=self._rewriting,
            on_burst=self._burst,
            on_listener=self._listen_badly,
            on_stray=self.oracle.idle.strayed,
            meter=self.oracle.meter,
            agent=None if self._gateway is None else self._gateway.agent,
            queue=self.simulator.services.get(QUEUE),
            on_kill=None if self._queues is None else self._queues.kill,
        )
        self._injector.good_conditions(plan.latency_s, plan.jitter_s)
        self._lives = self.oracle.lives = programs.lives() if plan.restarts_s else None
        self._application = application() if application else None
        self._application_host = VirtualReactor(self.network, "10.2.0.1")

    # -- construction

    def _specs(self) -> list[ServiceSpec]:
        plan = self.plan
        specs = [self._spec(name) for name in SERVICES[: plan.services]]
        if plan.queue_per_s:
            length = plan.queue_length
            queue = ServiceSpec(
                QUEUE,
                plan.queue_instances,
                token=self._token,
                processor="echo",
                queue_service=True,
                queue_workers=plan.queue_workers,
                input_length=length,
                sink_length=length,
            )
            specs.append(queue)
        return specs

    def _spec(self, name: str) -> ServiceSpec:
        plan = self.plan
        return ServiceSpec(
            name,
            plan.instances,
            tuple(plan.weights),
            self._token,
            self._processor(),
            gateway=plan.gateway_mode,
        )

    def _processor(self) -> Any:
        other = self._work if self.plan.work_s else echo
        if self.plan.streams_per_s:
            return StreamService(other, self._sends)
        return self._work if self.plan.work_s else "echo"

    def _sends(self, call: str, instance: str, serial: int) -> None:
        self.oracle.streams.sends(call, instance, serial)
        if self._gateway is not None:
            self._gateway.sends(call, instance, serial)

    def _address_of(self, instance_id: str) -> Address | None:
        for service in self.simulator.services.values():
            instance = service.instances.get(instance_id)
            if instance is not None:
                return instance.ip, instance.port
        return None

    def _work(self, body: bytes) -> Deferred[bytes]:
        """Return the body after a random time, between 0.5 and 1.5 times `work_s` of the plan."""
        done: Deferred[bytes] = Deferred(lambda _: timer.cancel())
        timer = self._server.callLater(
            self.plan.work_s * (0.5 + self.scheduler.stream("work").random()), done.callback, body
        )
        return done

    def _burst(self, calls: int, host: VirtualReactor | None = None) -> None:
        for sut, traffic in zip(self.clients_under_test, self.traffic, strict=True):
            if host is None or sut.reactor is host:
                traffic.burst(calls)

    def _listen_badly(self, host: VirtualReactor) -> list[Callable[[], None]]:
        on_host = [one for one in self.clients_under_test if one.reactor is host and one.is_heard]
        return [self.oracle.listen_badly(sut) for sut in on_host]

    def _observe(self, sut: ClientUnderTest, client: Any) -> None:
        """Install the oracle's observers on a client that has been opened."""
        runtime = client._runtime  # noqa: SLF001  the runtime has no public name
        assert runtime is not None  # noqa: S101  `init` has made it
        runtime.fleet.observe(self.oracle.balancing.observer(sut))
        probes.at_apply(sut, runtime.fleet, self.oracle)

    # -- the run

    def run(self) -> Result:
        """Run the whole plan, or until the first violation."""
        had_gc = gc.isenabled()
        gc.disable()
        # The previous world is one large reference cycle. It must be freed before `freeze`, which would keep it.
        gc.collect()
        # After `freeze`, the collections of this run do not traverse the objects that exist already. A caller that runs
        # many worlds has called `freeze` before; a second call would also keep objects of the previous world forever.
        is_frozen = gc.get_freeze_count() > 0
        if not is_frozen:
            gc.freeze()
        self.oracle.watch_log()
        try:
            with reactor_guard.armed():
                self._live()
                self._forget()
        finally:
            self.oracle.unwatch_log()
            if self._lives is not None:
                self._lives.clean_up()
            if not is_frozen:
                gc.unfreeze()
            if had_gc:
                gc.enable()
        return self._result()

    def _live(self) -> None:
        self._pass("warm-up", self._warm_up)
        self._pass("chaos", self._chaos)
        self._pass("heal", self._heal)
        self._pass("liveness", self._liveness)
        self._pass("quiet", self._quiet)
        self._pass("shutdown", self._shut_down)

    def _pass(self, phase: str, act: Callable[[], None]) -> None:
        if not self.oracle.violations:
            self.phase = phase
            self.scheduler.log(f"-- {phase}")
            act()
            self.oracle.hear_errors()

    def _run_for(self, seconds: float) -> None:
        """Advance time, with the periodic checks once a second."""
        left_s = seconds
        while left_s > 0 and not self.oracle.violations:
            self.scheduler.run_for(min(1.0, left_s))
            left_s -= 1.0
            self.oracle.tick()
            if self._queues is not None:
                self._queues.checker.look()
            if self._application is not None:
                for says in self._application.check(self.phase):
                    self.oracle.report("application", says)
            if self._progress is not None:
                self._progress(self.phase, self)

    def _wait(self, what: Deferred[Any] | None, for_what: str, timeout_s: float) -> None:
        """Advance time until a Deferred has fired; report a violation if it fails, or does not fire in time."""
        if what is None:
            return
        found: list[Any] = []
        what.addBoth(found.append)
        if not self.scheduler.run_until(lambda: bool(found), timeout_s):
            self.oracle.report("recovers-after-heal", f"{for_what} has not ended within {timeout_s:g} s")
        elif isinstance(found[0], Failure):
            self.oracle.report("recovers-after-heal", f"{for_what} failed: {found[0].getErrorMessage()}")

    # -- the phases

    def _warm_up(self) -> None:
        has_long_waits = bool(self.plan.streams_per_s) and self.plan.client.get("max_connections_per_instance") == 1
        is_loaded = self.plan.utilisation > _BUSY or self.plan.burst > 1 or has_long_waits
        if is_loaded or self.plan.profile in ("storm", "minority"):
            self._load_effect = FaultEffect(OVERLOAD, "load", None, None, OVERLOAD.statuses, 0.0)
            self.oracle.attribution.add(self._load_effect)
        probes.install(self.simulator, self.oracle, self._rewriting)
        self.simulator.start()
        self._learn_addresses()
        for clock in self._clocks:
            clock.start()
        for sut in self.clients_under_test:
            if self.plan.is_heard:
                self.oracle.listen(sut)
            sut.ready = sut.client.init()
            self._observe(sut, sut.client)
        for sut in self.clients_under_test:
            self._wait(sut.ready, f"init of client {sut.number}", 10.0)
        if self._application is not None:
            started = self._application.start(self._application_host, self.simulator.url, SERVICE, self._token)
            self._wait(started, "the start of the application", 30.0)
        for traffic in self._all_traffic:
            traffic.start()
        if self._queues is not None:
            self._wait(self._queues.start(), "init of the queue's client", 10.0)
        self._run_for(_WARM_UP_S)

    def _chaos(self) -> None:
        self._chaos_at_s = self.scheduler.elapsed()
        for step in self.plan.steps:
            self.scheduler.call_later(step.at_s, self._begin, step)
        if self._lives is not None:
            self._lives.start()
        if self._gateway is not None:
            self._gateway.start()
        self._run_for(self.plan.chaos_s)
        if self._lives is not None:
            self._wait(Deferred.fromCoroutine(self._lives.stop()), "the last life of the program", 60.0)

    def _begin(self, step: PlannedFault) -> None:
        if self.phase != "chaos":
            return
        kind, targets = KINDS[step.kind], self._injector.targets(step)
        here = kind.scope is Scope.INSTANCE or kind.scope is Scope.ZONE
        if here and not targets:
            return
        self.faults[step.kind] += 1
        number = self._begun = self._begun + 1
        where = self._injector.whom(step)
        self.scheduler.log(f"fault {number}, {step.kind}{where}: {kind.says}{step.how}")
        effect = FaultEffect(
            STEPPED.get(step.kind, kind) if self._clocks else kind,
            step.kind,
            frozenset((instance.ip, instance.port) for instance in targets) if here else None,
            self._clients_on(step.where) if kind.scope in (Scope.CLIENT, Scope.INSIDE) and step.where >= 0 else None,
            kind.statuses or ((step.with_["code"],) if "code" in step.with_ else ()),
            self.scheduler.elapsed(),
        )
        self.oracle.attribution.add(effect)
        undo = self._injector.begin(step)
        self._learn_addresses()
        addresses = effect.addresses or ()
        if step.kind in DEADLY:
            self.oracle.minority.died(addresses)

        def end() -> None:
            if self._undoes.pop(number, None) is not None:
                if step.for_s:
                    self.scheduler.log(f"the end of fault {number}, {step.kind}{where}")
                undo()
                effect.end(self.scheduler.elapsed())
                if step.kind in DEADLY:
                    self.oracle.minority.revived(addresses)

        self._undoes[number] = end
        self.scheduler.call_later(step.for_s, end)

    def _clients_on(self, where: int) -> frozenset[int]:
        """Return the numbers of the clients on a host."""
        host = self._hosts[where % len(self._hosts)]
        return frozenset(sut.number for sut in self.clients_under_test if sut.reactor is host)

    def _instances(self) -> list[SimulatedInstance]:
        return [one for service in self.simulator.services.values() for one in service.instances.values()]

    def _learn_addresses(self) -> None:
        self.oracle.attribution.alive = {
            (instance.ip, instance.port): instance.id for instance in self._instances() if instance.registered
        }

    def _heal(self) -> None:
        for end in list(self._undoes.values()):
            end()
        self.simulator.faults.clear()
        for traffic in self._all_traffic:
            traffic.slow_down()
        if self._load_effect is not None:
            self._load_effect.end(self.scheduler.elapsed())
        for instance in self._instances():
            if instance.registered and instance.state is not State.RUNNING:
                instance.set_state(State.RUNNING)
        two_polls_s = max(sut.poll_s[1] + sut.discovery_timeout_s for sut in self.clients_under_test) + 2.0
        # Packets that wait for the bandwidth of a narrow link arrive long after their calls have ended.
        self._run_for(max(two_polls_s, min(self.network.backlog_s + 1.0, _LONGEST_S)))

    def _liveness(self) -> None:
        """Check after the longest ejection that each client has its service's list, and that no instance is ejected."""
        longest_s = max(1.5 * sut.eject_max_s for sut in self.clients_under_test)
        self._run_for(min(longest_s + 10.0, _LONGEST_S))
        if not self.oracle.violations:
            self.oracle.check_well(self._listed())

    def _quiet(self) -> None:
        """Make calls one after the other, in whole cycles of the rotation, and check the shares."""
        for traffic in self._all_traffic:
            traffic.stop()
        if self._gateway is not None:
            self._gateway.stop()
        self._run_for(max(sut.timeout_s for sut in self.clients_under_test) + 1.0)
        if self._queues is not None:
            self._finish_queues(self._queues)
        if self.plan.streams_per_s and not self.oracle.violations:
            self.scheduler.run_until(lambda: not self.oracle.streams.streams, _LONGEST_STREAM_S)
            self.oracle.streams.check_over()
        listed = self._listed()
        cycles = {service: max(1, probes.cycle(rows.values())) for service, rows in listed.items()}
        if max(cycles.values()) > 20 * _QUIET_CALLS or self.oracle.violations:
            return
        times = {service: max(1, _QUIET_CALLS // cycle) for service, cycle in cycles.items()}
        # Run one cycle first: an ejected instance gets its share of calls only after the rotation has sent it a probe.
        self._call_in_turn(cycles)
        # Slow start reduces the share of an instance that has just returned.
        self.scheduler.run_for(max(sut.slow_start_s for sut in self.clients_under_test) + 1.0)
        self.oracle.begin_counting()
        self._call_in_turn({service: times[service] * cycle for service, cycle in cycles.items()})
        if self.oracle.violations:
            return
        self.oracle.check_shares(listed, times)
        for sut in self.clients_under_test:
            self.oracle.check_quiet(sut)
            self.oracle.check_idle(sut)
            if self.plan.is_named:
                self.oracle.check_asks(sut, ENDPOINT_NAME)
            # Even in a run without faults, streams that take long can make their instance an outlier.
            is_compared = bool(self.plan.streams_per_s) and sut.compares
            if not self.plan.steps and sut.ejections and not is_compared:
                self.oracle.report("exact-shares", f"client {sut.number} left somebody out, and nothing was wrong")

    def _finish_queues(self, queues: QueueTraffic) -> None:
        """Check that every frame reaches its consumers, end the stream, and close the clients of the queue."""
        if self.oracle.violations:
            return
        queues.stop()
        self.scheduler.run_until(lambda: queues.is_settled or bool(self.oracle.violations), _LONGEST_QUEUE_S)
        if not self.oracle.violations:
            queues.check_settled()
            queues.end()
        for _ in range(round(_LONGEST_QUEUE_S)):
            if queues.has_ended or self.oracle.violations:
                break
            self._run_for(1.0)
        if not self.oracle.violations:
            self._wait(queues.close(), "close of the queue's clients", 30.0)
            self.scheduler.run_for(0.0)
            queues.check_closed()

    def _call_in_turn(self, calls: Mapping[str, int]) -> None:
        """Make calls with every client, one after the other; `calls` is the number of calls by service."""
        most = max(calls.values())
        for number in range(most):
            ended = [traffic.call() for traffic in self.traffic if number < calls[traffic.service]]
            for one in ended:
                self._wait(one, "a call in quiet times", 10.0)
            if self.oracle.violations:
                return
            if most < _MANY_CALLS:
                # The pause is long enough that discovery is polled between the calls.
                self.scheduler.run_for(_QUIET_PAUSE_S)

    def _shut_down(self) -> None:
        self._note_load()
        if self._application is not None:
            self._wait(self._application.stop(), "the end of the application", 60.0)
            left = self._application_host.getDelayedCalls()
            if left:
                self.oracle.report("nothing-left", f"the application has ended and left timers: {left}")
        if self.plan.streams_per_s:
            for sut, streams in zip(self.clients_under_test, self._streams, strict=True):
                if sut.is_parent:
                    streams.begin_long_ones()
            self.scheduler.run_for(_BEFORE_CLOSE_S)
            self.scheduler.run_until(
                lambda: not any(streams.is_opening for streams in self._streams), _LONGEST_STREAM_S
            )
        for sut in self.clients_under_test:
            self.oracle.streams.client_closes(sut)
            self._wait(sut.client.close(), f"close of client {sut.number}", 30.0)
            self.oracle.streams.client_closed(sut)
        self.scheduler.run_for(0.0)
        self.oracle.streams.check_over()
        if self._gateway is not None:
            self._wait(self._gateway.close(), "close of the gateway's client", 30.0)
        for clock in self._clocks:
            clock.stop()
        for sut in self.clients_under_test:
            self.oracle.check_closed(sut)
        self._wait(self.simulator.stop(), "the end of the simulator", 30.0)
        self.scheduler.run_for(200.0)
        self.oracle.check_empty()

    def _forget(self) -> None:
        """Collect garbage, so that Deferreds with unhandled failures log them."""
        gc.collect()
        self.oracle.hear_errors()

    # -- results

    def _listed(self) -> dict[str, dict[Address, float]]:
        return {
            name: {(instance.ip, instance.port): instance.weight for instance in service.listed()}
            for name, service in self.simulator.services.items()
        }

    def _note_load(self) -> None:
        # Requests of the queue service are left out, because another program sends them.
        counts = Counter(
            {id_: n for id_, n in self.simulator.journal.by_instance.items() if not id_.startswith(f"{QUEUE}-")}
        )
        mean = counts.total() / max(1, len(counts))
        self._load = {
            "imbalance": round(max(counts.values(), default=0) / mean, 3) if mean else 0.0,
            "discovery_per_s": round(self.oracle.discovery.polls / max(1.0, self.scheduler.elapsed()), 3),
            "amplification": round(counts.total() / max(1, sum(sut.calls for sut in self.clients_under_test)), 3),
        }

    _load: Mapping[str, float] = {}

    def _result(self) -> Result:
        totals: dict[str, Counter[str]] = {"failures": Counter(), "retries": Counter()}
        for sut in self.clients_under_test:
            for name, total in totals.items():
                total.update(getattr(sut.client.counters, name))
        return Result(
            self.plan,
            self.scheduler.digest,
            self.scheduler.elapsed(),
            sum(sut.calls for sut in self.clients_under_test),
            sum(traffic.failed for traffic in self._all_traffic),
            tuple(self.oracle.violations),
            self.faults,
            totals["failures"],
            totals["retries"],
            self._load,
            self._chaos_at_s,
            tuple(self.scheduler.tail),
        )


def _cancel_all(traffic: ClientTraffic, streams: StreamTraffic) -> None:
    """Cancel the calls in flight of one client."""
    traffic.cancel_all()
    streams.cancel_all()
