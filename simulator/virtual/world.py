"""The virtual world: real clients and the real simulator in one process, through the phases of a plan.

Warm-up, chaos, heal, liveness, quiet, shutdown. The one room of the virtual world that runs the real client; what is
checked is the oracle's business, what goes wrong the plan's.
"""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from attrs import fields
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, ConfigError, PredictClient
from simulator.fleet import ServiceSpec
from simulator.instance import State
from simulator.scenario import ScenarioError
from simulator.scenario_values import known
from simulator.simulator import Simulator
from simulator.virtual import taps, tripwire
from simulator.virtual.acts import Actor
from simulator.virtual.explanations import Touch
from simulator.virtual.lives import Lives
from simulator.virtual.minority import DEADLY
from simulator.virtual.oracle import Oracle
from simulator.virtual.reactor import VirtualReactor
from simulator.virtual.result import Result
from simulator.virtual.rewriting import Rewriting
from simulator.virtual.subject import Subject
from simulator.virtual.traffic import Traffic
from simulator.virtual.troubles import KINDS, OVERLOAD, Scope
from simulator.virtual.vnet import Network
from simulator.virtual.vtime import Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from simulator.instance import SimulatedInstance
    from simulator.virtual.plan import Plan, Step
    from simulator.virtual.sockets import Address

SERVICE, SERVER_IP = "echo", "10.0.0.1"
LIVES_IP = "10.3.0.1"
SERVICES = (SERVICE, "other")
TOKEN = "a-token-nobody-may-see"  # noqa: S105
_WARM_UP_S = 5.0
_QUIET_CALLS = 60
_QUIET_PAUSE_S = 0.1
_MANY_CALLS = 500
_BUSY = 0.2
_LONGEST_S = 600.0


class Application(Protocol):
    """A program of yours that is run in a world beside the clients, or instead of them."""

    def start(self, reactor: Any, url: str, service: str, token: str) -> Deferred[Any] | None:
        """Begin, on a host of your own; `url` is the control plane's."""

    def check(self, phase: str) -> Iterable[str]:
        """What is wrong at the moment; asked every virtual second, with the phase of the run."""

    def stop(self) -> Deferred[Any] | None:
        """End; after it nothing of yours may be left on the host."""


class World:
    """One run of a plan.

    Args:
        plan: What to run.
        application: Makes a program of yours to run in it.
        progress: Told of the phase and of virtual time, every virtual second.

    Raises:
        ScenarioError: The plan has settings that no client takes.
    """

    def __init__(
        self,
        plan: Plan,
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
        self.oracle.minority.is_on = plan.profile == "minority"
        self._server = VirtualReactor(self.network, SERVER_IP)
        self.oracle.secret = self._token = TOKEN if plan.has_token else ""
        self.simulator = Simulator(
            self._server,
            seed=plan.seed,
            host=SERVER_IP,
            services=[self._spec(name) for name in SERVICES[: plan.services]],
            spread_ips=plan.addresses == "hosts",
        )
        self._chaos_at_s = 0.0
        self._undoes: dict[int, Callable[[], None]] = {}
        self._begun = 0
        self._load_touch: Touch | None = None
        self.subjects = [self._make_subject(number) for number in range(plan.clients)]
        self._hosts = [subject.reactor for subject in self.subjects]
        if plan.services > 1:
            parents = self.subjects[::2]
            self.subjects += [self._make_child(plan.clients + at, parent) for at, parent in enumerate(parents)]
        for subject in self.subjects:
            self.oracle.add(subject)
        self.traffic = [Traffic(subject, plan, self.oracle, self.scheduler) for subject in self.subjects]
        self.oracle.cancel_all = {
            subject.number: traffic.cancel_all for subject, traffic in zip(self.subjects, self.traffic, strict=True)
        }
        self._rewriting = Rewriting(self.scheduler.stream("rewriting"))
        self._actor = Actor(
            self.network,
            self.simulator,
            list(self.simulator.services.values()),
            self._hosts,
            plan.zones,
            rewriting=self._rewriting,
            on_burst=self._burst,
            on_listener=self._listen_badly,
            on_stray=self.oracle.idle.strayed,
        )
        self._actor.good_weather(plan.latency_s, plan.jitter_s)
        self._lives = self.oracle.lives = self._make_lives() if plan.restarts_s else None
        self._application = application() if application else None
        self._application_host = VirtualReactor(self.network, "10.2.0.1")

    # -- building

    def _spec(self, name: str) -> ServiceSpec:
        plan = self.plan
        return ServiceSpec(
            name, plan.instances, tuple(plan.weights), self._token, self._work if plan.work_s else "echo"
        )

    def _work(self, body: bytes) -> Deferred[bytes]:
        """Echo, after a while."""
        done: Deferred[bytes] = Deferred(lambda _: timer.cancel())
        timer = self._server.callLater(
            self.plan.work_s * (0.5 + self.scheduler.stream("work").random()), done.callback, body
        )
        return done

    def _burst(self, calls: int, host: VirtualReactor | None = None) -> None:
        for subject, traffic in zip(self.subjects, self.traffic, strict=True):
            if host is None or subject.reactor is host:
                traffic.burst(calls)

    def _listen_badly(self, host: VirtualReactor) -> list[Callable[[], None]]:
        on_host = [one for one in self.subjects if one.reactor is host and one.is_heard]
        return [self.oracle.listen_badly(subject) for subject in on_host]

    def _make_subject(self, number: int) -> Subject:
        reactor = VirtualReactor(self.network, f"10.1.{number // 250}.{number % 250 + 1}")
        settings = {"seed": self.plan.seed * 1000 + number, **self.plan.settings_of(number)}
        known("$.client", settings, [setting.name for setting in fields(ClientConfig)], "ClientConfig")
        try:
            config = ClientConfig(**settings)
        except (ConfigError, TypeError) as error:
            raise ScenarioError(f"$.client: {error}") from error
        client = PredictClient(
            f"http://{SERVER_IP}:40000",
            SERVICE,
            token=self._token,
            endpoint_type=ENDPOINT_TYPE_DIRECT,
            reactor=reactor,
            config=config,
            wall_clock=reactor.wall_seconds,
        )
        return Subject(number, client, reactor, self.scheduler.elapsed)

    def _observe(self, subject: Subject, client: PredictClient) -> None:
        """Let the oracle hear where a client that has been opened sends its calls."""
        session = client._session  # noqa: SLF001  what it runs on has no public name
        assert session is not None  # noqa: S101  `init` has made it
        session.fleet.observe(self.oracle.choices.observer(subject))
        taps.at_apply(subject, session.fleet, self.oracle)

    def _make_child(self, number: int, parent: Subject) -> Subject:
        """A client of the other service, which shares the connections of its parent, and not its budget."""
        child = parent.client.child(SERVICES[1], token=self._token)
        return Subject(number, child, parent.reactor, self.scheduler.elapsed, is_parent=False)

    def _make_lives(self) -> Lives:
        def make(directory: str, settings: dict[str, Any]) -> Any:
            return PredictClient(
                f"http://{SERVER_IP}:40000",
                SERVICE,
                token=self._token,
                endpoint_type=ENDPOINT_TYPE_DIRECT,
                reactor=reactor,
                config=ClientConfig(seed=self.plan.seed, snapshot_path=directory, **settings),
                wall_clock=reactor.wall_seconds,
            )

        reactor = VirtualReactor(self.network, LIVES_IP)
        return Lives(
            self.network,
            reactor,
            self.scheduler.stream("lives"),
            make,
            service=SERVICE,
            child_of=SERVICES[self.plan.services - 1],
            pause_s=self.plan.restarts_s,
            is_disturbed=self._is_discovery_disturbed,
            report=self.oracle.report,
        )

    def _is_discovery_disturbed(self, since_s: float) -> bool:
        # A number that no client has: what strikes one process strikes no other.
        return self.oracle.explanations.disturbs_replies(-1, since_s, self.scheduler.elapsed())

    # -- running

    def run(self) -> Result:
        """Live through the whole plan, or until the first violation."""
        had_gc = gc.isenabled()
        gc.disable()
        # The world before this one is one large circle; frozen it would stay for ever.
        gc.collect()
        # What is there already is nobody's business, and would be looked through at the end of every run. Whoever
        # runs many worlds has frozen it before, for good; frozen again with it, this one would never be collected.
        is_frozen = gc.get_freeze_count() > 0
        if not is_frozen:
            gc.freeze()
        self.oracle.watch_log()
        try:
            with tripwire.armed():
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
        """Let time pass, looking at everything once a second."""
        left_s = seconds
        while left_s > 0 and not self.oracle.violations:
            self.scheduler.run_for(min(1.0, left_s))
            left_s -= 1.0
            self.oracle.tick()
            if self._application is not None:
                for says in self._application.check(self.phase):
                    self.oracle.report("x", says)
            if self._progress is not None:
                self._progress(self.phase, self)

    def _wait(self, what: Deferred[Any] | None, for_what: str, timeout_s: float) -> None:
        """Let time pass until a Deferred has fired."""
        if what is None:
            return
        found: list[Any] = []
        what.addBoth(found.append)
        if not self.scheduler.run_until(lambda: bool(found), timeout_s):
            self.oracle.report("i", f"{for_what} has not ended within {timeout_s:g} s")
        elif isinstance(found[0], Failure):
            self.oracle.report("i", f"{for_what} failed: {found[0].getErrorMessage()}")

    # -- the phases

    def _warm_up(self) -> None:
        if self.plan.utilisation > _BUSY or self.plan.burst > 1 or self.plan.profile in ("storm", "minority"):
            self._load_touch = Touch(OVERLOAD, "load", None, None, OVERLOAD.statuses, 0.0)
            self.oracle.explanations.add(self._load_touch)
        taps.install(self.simulator, self.oracle, self._rewriting)
        self.simulator.start()
        self._learn_addresses()
        for subject in self.subjects:
            if self.plan.is_heard:
                self.oracle.listen(subject)
            subject.ready = subject.client.init()
            self._observe(subject, subject.client)
        for subject in self.subjects:
            self._wait(subject.ready, f"init of client {subject.number}", 10.0)
        if self._application is not None:
            started = self._application.start(self._application_host, self.simulator.url, SERVICE, self._token)
            self._wait(started, "the start of the application", 30.0)
        for traffic in self.traffic:
            traffic.start()
        self._run_for(_WARM_UP_S)

    def _chaos(self) -> None:
        self._chaos_at_s = self.scheduler.elapsed()
        for step in self.plan.steps:
            self.scheduler.call_later(step.at_s, self._begin, step)
        if self._lives is not None:
            self._lives.start()
        self._run_for(self.plan.chaos_s)
        if self._lives is not None:
            self._wait(Deferred.fromCoroutine(self._lives.stop()), "the last life of the program", 60.0)

    def _begin(self, step: Step) -> None:
        if self.phase != "chaos":
            return
        kind, struck = KINDS[step.kind], self._actor.struck(step)
        here = kind.scope is Scope.INSTANCE or kind.scope is Scope.ZONE
        if here and not struck:
            return
        self.faults[step.kind] += 1
        number = self._begun = self._begun + 1
        where = self._actor.whom(step)
        self.scheduler.log(f"fault {number}, {step.kind}{where}: {kind.says}{step.how}")
        touch = Touch(
            kind,
            step.kind,
            frozenset((instance.ip, instance.port) for instance in struck) if here else None,
            self._clients_on(step.where) if kind.scope in (Scope.CLIENT, Scope.INSIDE) and step.where >= 0 else None,
            kind.statuses or ((step.with_["code"],) if "code" in step.with_ else ()),
            self.scheduler.elapsed(),
        )
        self.oracle.explanations.add(touch)
        undo = self._actor.begin(step)
        self._learn_addresses()
        addresses = touch.addresses or ()
        if step.kind in DEADLY:
            self.oracle.minority.died(addresses)

        def end() -> None:
            if self._undoes.pop(number, None) is not None:
                if step.for_s:
                    self.scheduler.log(f"the end of fault {number}, {step.kind}{where}")
                undo()
                touch.end(self.scheduler.elapsed())
                if step.kind in DEADLY:
                    self.oracle.minority.revived(addresses)

        self._undoes[number] = end
        self.scheduler.call_later(step.for_s, end)

    def _clients_on(self, where: int) -> frozenset[int]:
        """The numbers of the clients on a host."""
        host = self._hosts[where % len(self._hosts)]
        return frozenset(subject.number for subject in self.subjects if subject.reactor is host)

    def _instances(self) -> list[SimulatedInstance]:
        return [one for service in self.simulator.services.values() for one in service.instances.values()]

    def _learn_addresses(self) -> None:
        self.oracle.explanations.alive = {
            (instance.ip, instance.port): instance.id for instance in self._instances() if instance.registered
        }

    def _heal(self) -> None:
        for end in list(self._undoes.values()):
            end()
        self.simulator.faults.clear()
        for traffic in self.traffic:
            traffic.slow_down()
        if self._load_touch is not None:
            self._load_touch.end(self.scheduler.elapsed())
        for instance in self._instances():
            if instance.registered and instance.state is not State.RUNNING:
                instance.set_state(State.RUNNING)
        two_polls_s = max(subject.poll_s[1] + subject.discovery_timeout_s for subject in self.subjects) + 2.0
        # What still queues in front of a passage that was narrow comes all the same, long after its caller has gone.
        self._run_for(max(two_polls_s, min(self.network.backlog_s + 1.0, _LONGEST_S)))

    def _liveness(self) -> None:
        """Every call succeeds from here on, and what was left out comes back, however long it had been left out for."""
        longest_s = max(1.5 * subject.eject_max_s for subject in self.subjects)
        self._run_for(min(longest_s + 10.0, _LONGEST_S))
        if not self.oracle.violations:
            self.oracle.check_well(self._listed())

    def _quiet(self) -> None:
        """Nothing but calls, one after the other, in whole cycles of the rotation."""
        for traffic in self.traffic:
            traffic.stop()
        self._run_for(max(subject.timeout_s for subject in self.subjects) + 1.0)
        listed = self._listed()
        cycles = {service: max(1, taps.cycle(rows.values())) for service, rows in listed.items()}
        if max(cycles.values()) > 20 * _QUIET_CALLS or self.oracle.violations:
            return
        times = {service: max(1, _QUIET_CALLS // cycle) for service, cycle in cycles.items()}
        # Whoever was left out is probed by a call of its turn, and has its share from then on.
        self._call_in_turn(cycles)
        # … once it is warm.
        self.scheduler.run_for(max(subject.slow_start_s for subject in self.subjects) + 1.0)
        self.oracle.begin_counting()
        self._call_in_turn({service: times[service] * cycle for service, cycle in cycles.items()})
        if self.oracle.violations:
            return
        self.oracle.check_shares(listed, times)
        for subject in self.subjects:
            self.oracle.check_quiet(subject)
            self.oracle.check_idle(subject)
            if not self.plan.steps and subject.ejections:
                self.oracle.report("g", f"client {subject.number} left somebody out, and nothing was wrong")

    def _call_in_turn(self, calls: Mapping[str, int]) -> None:
        """So many calls of every client, by its service; each client's one after the other."""
        most = max(calls.values())
        for number in range(most):
            ended = [traffic.call() for traffic in self.traffic if number < calls[traffic.service]]
            for one in ended:
                self._wait(one, "a call in quiet times", 10.0)
            if self.oracle.violations:
                return
            if most < _MANY_CALLS:
                # Long enough that discovery is polled meanwhile.
                self.scheduler.run_for(_QUIET_PAUSE_S)

    def _shut_down(self) -> None:
        self._note_load()
        if self._application is not None:
            self._wait(self._application.stop(), "the end of the application", 60.0)
            left = self._application_host.getDelayedCalls()
            if left:
                self.oracle.report("h", f"the application has ended and left timers: {left}")
        for subject in self.subjects:
            self._wait(subject.client.close(), f"close of client {subject.number}", 30.0)
        for subject in self.subjects:
            self.oracle.check_closed(subject)
        self._wait(self.simulator.stop(), "the end of the simulator", 30.0)
        self.scheduler.run_for(200.0)
        self.oracle.check_empty()

    def _forget(self) -> None:
        """Deferreds whose errors nobody has taken tell so when they are collected."""
        gc.collect()
        self.oracle.hear_errors()

    # -- facts

    def _listed(self) -> dict[str, dict[Address, float]]:
        return {
            name: {(instance.ip, instance.port): instance.weight for instance in service.listed()}
            for name, service in self.simulator.services.items()
        }

    def _note_load(self) -> None:
        counts = self.simulator.journal.by_instance
        mean = counts.total() / max(1, len(counts))
        self._load = {
            "imbalance": round(max(counts.values(), default=0) / mean, 3) if mean else 0.0,
            "discovery_per_s": round(self.oracle.views.polls / max(1.0, self.scheduler.elapsed()), 3),
            "amplification": round(counts.total() / max(1, sum(subject.calls for subject in self.subjects)), 3),
        }

    _load: Mapping[str, float] = {}

    def _result(self) -> Result:
        totals: dict[str, Counter[str]] = {"failures": Counter(), "retries": Counter()}
        for subject in self.subjects:
            for name, total in totals.items():
                total.update(getattr(subject.client.counters, name))
        return Result(
            self.plan,
            self.scheduler.digest,
            self.scheduler.elapsed(),
            sum(subject.calls for subject in self.subjects),
            sum(traffic.failed for traffic in self.traffic),
            tuple(self.oracle.violations),
            self.faults,
            totals["failures"],
            totals["retries"],
            self._load,
            self._chaos_at_s,
            tuple(self.scheduler.tail),
        )
