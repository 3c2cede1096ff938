"""The current instances of a service: discovery updates them, and calls choose among them.

`Pools` owns the connections, one pool for each instance, shared by a client and its children (`PredictClient.child`).
An instance's pool exists as long as one of these clients has the instance in its list.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from eas_tw.net.deadlines import Deadlines
from eas_tw.net.dialer import Dialer
from eas_tw.net.flush import Flusher
from eas_tw.net.own_connection import OwnDial
from eas_tw.net.pool import Pool
from eas_tw.net.read_set import with_read_set
from eas_tw.net.watch import SilenceWatch
from eas_tw.policy.cluster import NOTHING, Cluster, ClusterPolicy
from eas_tw.policy.filtering import Filtering
from eas_tw.policy.health import HealthPolicy
from eas_tw.policy.hedging import USUAL_SHARE
from eas_tw.policy.instances import Added, Change, Instance, Removed, Reweighted
from eas_tw.policy.outcomes import ANSWERED
from eas_tw.telemetry.contained import contain, pass_on

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from random import Random

    from twisted.internet.protocol import Protocol

    from eas_tw.config import ClientConfig
    from eas_tw.net.attempt import Attempt
    from eas_tw.net.fleet import Begun, FleetObserver
    from eas_tw.net.own_connection import OnFailed
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.cluster import HealthTransition
    from eas_tw.policy.guarded import BalancerFault
    from eas_tw.policy.hedging import Hedging
    from eas_tw.policy.outcomes import Outcome
    from eas_tw.policy.selection import Selection
    from eas_tw.telemetry.record import Record

    Key = tuple[str, int]

_log = Logger(namespace="eas_tw.upstream")


class Pools:
    """The connection pools of the instances in the lists of a client and its children.

    Pools of removed instances are included until their requests have ended.

    Args:
        reactor: The reactor, for timers and connections.
        config: The settings, of which the timeouts and limits of connections are used.
    """

    def __init__(self, reactor: Reactor, config: ClientConfig) -> None:
        self._reactor = reactor
        self._network: Reactor = with_read_set(reactor)
        self._config = config
        self._flusher = Flusher(reactor)
        self._dialer = Dialer(reactor)
        self._pools: dict[Key, Pool] = {}
        self._held: dict[object, dict[Key, None]] = {}
        self._holders: Counter[Key] = Counter()
        self._leaving: dict[Pool, None] = {}
        self._not_retired: list[Pool] = []
        self._waiters: list[Deferred[None]] = []

    def hold(self, holder: object, instances: Sequence[Instance]) -> None:
        """Replace the list of a client, and retire the pools of instances that are in no list any more.

        Args:
            holder: The upstream of the client.
            instances: The whole list; empty when the client closes.
        """
        before = self._held.get(holder, {})
        held = dict.fromkeys(instance.key for instance in instances)
        self._holders.update(key for key in held if key not in before)
        self._holders.subtract(key for key in before if key not in held)
        gone = [key for key in before if self._holders[key] <= 0]
        for key in gone:
            del self._holders[key]
        if held:
            self._held[holder] = held
        else:
            self._held.pop(holder, None)
        leaving = [self._pools.pop(key) for key in gone if key in self._pools]
        self._leaving.update(dict.fromkeys(leaving))
        # A pool whose `retire` raised the last time is retired again; otherwise `when_gone` would never fire.
        leaving, self._not_retired = [*self._not_retired, *leaving], []
        # Pools are retired last, when the state is consistent, because `retire` makes queued calls choose other
        # instances.
        for pool in leaving:
            try:
                pool.retire()
            except BaseException:  # noqa: BLE001  the other pools must retire, too
                contain(self._reactor.callLater, "{pool} could not be retired", pool=pool)
                self._not_retired.append(pool)

    def of(self, instance: Instance) -> Pool:
        """Return the pool of an instance in the list. The first call creates the pool, because a list may be long."""
        key = instance.key
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(
                self._network, instance, self._config, self._flusher, self._dialer, self._forget
            )
        return pool

    def connect(self, instance: Instance, protocol: Protocol, on_failed: OnFailed) -> Callable[[], None]:
        """Open a connection outside the pools; return a function that cancels the opening."""
        timeout_s = self._config.connect_timeout_s
        dial = OwnDial(self._reactor, self._dialer, instance, protocol, timeout_s=timeout_s, on_failed=on_failed)
        return dial.cancel

    def when_gone(self) -> Deferred[None]:
        """Return a Deferred that fires when every socket of the retired pools has reported its loss."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        self._tell_if_gone()
        return waiter

    def connections(self, key: Key) -> int:
        """Return the number of established connections to an instance."""
        pool = self._pools.get(key)
        return pool.connections if pool else 0

    def _forget(self, pool: Pool) -> None:
        self._leaving.pop(pool, None)
        self._tell_if_gone()

    def _tell_if_gone(self) -> None:
        if not self._leaving:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)


class Upstream:
    """The instances of one service, each with its pool.

    Args:
        reactor: The reactor, for timers and connections.
        pools: The connections, shared with other clients.
        config: The settings for the choice and the ejection of instances.
        hedging: The hedging policy, which receives whether an instance may be silent, and the latencies of watched
            attempts.
        record: The telemetry record, for ejections and changes of the list.
        rng: The generator of random numbers for choices and ejections.
    """

    def __init__(
        self,
        reactor: Reactor,
        pools: Pools,
        config: ClientConfig,
        *,
        hedging: Hedging,
        record: Record,
        rng: Random,
    ) -> None:
        self._seconds = reactor.seconds
        self._hedging = hedging
        self._watches: dict[Key, SilenceWatch] = {}
        self._watch_deadlines: Deadlines[SilenceWatch] = Deadlines(
            reactor, SilenceWatch.stop, (USUAL_SHARE,), SilenceWatch.judge
        )
        self._pools = pools
        self._members: dict[Key, Pool] = {}
        self._held: tuple[Instance, ...] = ()
        self._later = reactor.callLater
        self._filtering = Filtering(config.instance_filter, self._warn_of_filter)
        self._cluster = Cluster(_policy(config), rng, self._balancer_failed)
        self.reads_calls = self._cluster.reads_calls
        self._known_faults: set[BalancerFault] = set()
        self._is_closed = False
        # The bound method is stored, because a method that only forwards would cost each call 0.1 µs.
        self.choose: Callable[[Selection, float], Instance | None] = self._cluster.choose
        self._record = record
        self._observer: FleetObserver | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the list has an instance."""
        return bool(self._cluster.instances)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The list of instances."""
        return self._cluster.instances

    @property
    def ejected(self) -> tuple[Key, ...]:
        """The instances that are ejected (ip and port)."""
        return self._cluster.ejected

    def apply(self, instances: Sequence[Instance]) -> tuple[Change, ...]:
        """Replace the list, and return the changes.

        If a step raises, calls continue with the old list or with the new one, and the next `apply` completes the
        remaining steps, even with the same list.
        """
        found = self._cluster.apply(self._filtering.of(instances), self._seconds())
        if self._is_closed:
            # The program's own balancer or filter has closed the client.
            self._cluster.apply((), self._seconds())
        try:
            self._hold()
        finally:
            if found and not self._is_closed:
                _log.info(
                    "{service}: list of instances changed: {changes}",
                    service=self._record.service,
                    changes=_summary(found),
                )
                self._record.list_changed(found, self.instances)
        return found

    def close(self) -> Deferred[None]:
        """Release all pools when the client closes; no change of the list is reported.

        Returns:
            A Deferred that fires when every socket has reported its loss.
        """
        self._is_closed = True
        self._cluster.apply((), self._seconds())
        self._hold()
        self._watch_deadlines.stop()
        return self._pools.when_gone()

    def observe(self, observer: FleetObserver) -> None:
        """Report each choice and each end of an attempt to `observer`."""
        self._observer = observer
        self.choose = self._choose_observed

    def _hold(self) -> None:
        """Pass the list to the pools, unless the pools have received this list already."""
        instances = self._cluster.instances
        if instances is self._held:
            return
        keys = {instance.key for instance in instances}
        self._members = {key: pool for key, pool in self._members.items() if key in keys}
        for key in [key for key in self._watches if key not in keys]:
            self._watches[key].stop()
        before, self._held = self._held, instances
        try:
            self._pools.hold(self, instances)
        except BaseException:
            self._held = before
            raise

    def _choose_observed(self, selection: Selection, now: float) -> Instance | None:
        picked = self._cluster.choose(selection, now)
        if self._observer is not None and picked is not None:
            self._observer.on_chosen(picked, selection, now)
        return picked

    def pool_of(self, instance: Instance) -> Pool:
        """Return the pool of an instance in the list."""
        pool = self._members.get(instance.key)
        if pool is None:
            pool = self._members[instance.key] = self._pools.of(instance)
        return pool

    def host_of(self, instance: Instance) -> str:
        """Return the Host header of requests to an instance."""
        return self.pool_of(instance).host.decode()

    def connect(self, instance: Instance, protocol: Protocol, on_failed: OnFailed) -> Callable[[], None]:
        """Open a connection to an instance outside its pool; return a function that cancels the opening."""
        return self._pools.connect(instance, protocol, on_failed)

    def has_another(self, failed: Collection[Key]) -> bool:
        """Return whether the list has an instance that is not in `failed`."""
        return self._cluster.has_another(failed)

    def has_well(self, tried: Collection[Key]) -> bool:
        """Return whether the list has an instance that takes part and is not in `tried`."""
        return self._cluster.has_well(tried)

    @property
    def is_sole(self) -> bool:
        """Whether the list has exactly one usable instance."""
        return self._cluster.is_sole

    def record(self, attempt: Begun, outcome: Outcome, latency_s: float | None = None) -> None:
        """Record how an attempt ended.

        Args:
            attempt: The attempt.
            outcome: How the attempt ended.
            latency_s: The time to the head of a stream, in seconds; `None` for other attempts.
        """
        cluster, observer = self._cluster, self._observer
        instance, began = attempt.instance, attempt.began
        if observer is not None:
            observer.on_ending(instance, outcome, began)
        if outcome is ANSWERED and not cluster.is_following:
            if not cluster.troubled:
                return
            transitions = cluster.record(instance, outcome, began)
        else:
            now = self._seconds()
            transitions = cluster.record(instance, outcome, now, began, latency_s, attempt.info)
        if transitions is not NOTHING:
            self._conclude(transitions)
        if observer is not None and outcome is not ANSWERED:
            observer.on_failed(instance, outcome)

    def began_to_answer(self, attempt: Begun) -> None:
        """Record that the head of a stream has arrived: the instance is not silent, but the attempt has not ended."""
        self._conclude(self._cluster.stream_began(attempt.instance, self._seconds(), attempt.began, attempt.info))

    def suspect(self, attempt: Attempt) -> None:
        """Record that an attempt is overdue, and that its instance has been silent since the attempt began."""
        self._cluster.suspect(attempt.instance, attempt.began, self._seconds())
        self._conclude(())

    def is_probe(self, attempt: Attempt) -> bool:
        """Return whether an attempt is the probe of an instance whose ejection is over."""
        return self._cluster.is_probe(attempt.instance, attempt.began)

    def watch(self, attempt: Attempt, timeout_s: float) -> SilenceWatch | None:
        """Return a watch that replaces an overdue attempt; `None` when no watch is needed.

        Args:
            attempt: The attempt that its call gives up.
            timeout_s: The timeout of the call in seconds.
        """
        key = attempt.instance.key
        pool = self._members.get(key)
        if pool is None or not self._cluster.watch(attempt.instance, attempt.began):
            return None
        older = self._watches.get(key)
        if older is not None:
            # The older watch belongs to an earlier suspicion or probe.
            older.stop()
        watch = self._watches[key] = SilenceWatch(attempt, timeout_s, pool, self._overheard)
        self._watch_deadlines.set(watch, self._seconds(), timeout_s)
        return watch

    def _overheard(self, watch: SilenceWatch, outcome: Outcome, is_all: bool) -> None:  # noqa: FBT001  the signature of `OnHeard`
        now = self._seconds()
        if is_all:
            self._watches.pop(watch.instance.key, None)
            self._watch_deadlines.clear(watch, watch.timeout_s)
        if outcome is ANSWERED:
            self._hedging.observe(now - watch.began)
        if self._observer is not None:
            self._observer.on_overheard(watch.instance, outcome)
        self._conclude(self._cluster.overheard(watch.instance, outcome, now, watch.began, is_all=is_all))

    def _conclude(self, transitions: Sequence[HealthTransition]) -> None:
        """Report health transitions, and set in `hedging` whether an instance may be silent."""
        self._hedging.set_wary(is_wary=self._cluster.is_wary)
        for transition in transitions:
            self._tell(transition)

    def _balancer_failed(self, fault: BalancerFault, error: BaseException | None) -> None:
        """Count and report a fault of the program's own balancer; each kind is logged once."""
        if fault not in self._known_faults:
            self._known_faults.add(fault)
            if error is None:
                _log.warn("{service}: the balancer {fault}", service=self._record.service, fault=fault)
            else:
                _log.failure(
                    "{service}: the balancer {fault}", Failure(error), service=self._record.service, fault=fault
                )
        pass_on(self._later, error)
        if fault.is_fallback:
            self._record.balancer_fell_back(fault)

    def _warn_of_filter(self, text: str, error: BaseException | None) -> None:
        if error is None:
            _log.warn("{service}: instance_filter {text}", service=self._record.service, text=text)
        else:
            _log.failure("{service}: instance_filter {text}", Failure(error), service=self._record.service, text=text)
        pass_on(self._later, error)

    def _tell(self, transition: HealthTransition) -> None:
        instance, why, service = transition.instance, transition.why, self._record.service
        if transition.is_ejected:
            self._record.ejected(instance, why)
            _log.warn("{service}: ejected {instance}: {why}", service=service, instance=instance.address, why=why)
        elif transition.is_overflow:
            self._record.not_ejected(instance, why)
            _log.warn(
                "{service}: {instance} is not ejected although {why}: {out} of {all} are left out already",
                service=service,
                instance=instance.address,
                why=why,
                out=len(self._cluster.ejected),
                all=len(self._cluster.instances),
            )
        else:
            self._record.returned(instance, why)
            _log.info(
                "{service}: {instance} takes part again: {why}", service=service, instance=instance.address, why=why
            )


def _policy(config: ClientConfig) -> ClusterPolicy:
    health = HealthPolicy(config.eject_after, config.eject_base_s, config.eject_max_s, config.max_ejected_ratio)
    return ClusterPolicy(
        health=health,
        balancer=config.balancer,
        hash_load_factor=config.hash_load_factor,
        subset_size=config.subset_size,
        max_in_flight_per_instance=config.max_in_flight_per_instance,
        slow_start_s=config.slow_start_s,
        outlier_success_gap=config.outlier_success_gap,
        outlier_latency_ratio=config.outlier_latency_ratio,
    )


def _summary(found: Sequence[Change]) -> str:
    signs = {Added: "+", Removed: "-", Reweighted: "~"}
    shown = [
        f"{signs[type(change)]}{change.instance.address} (weight {change.instance.weight:g})" for change in found[:8]
    ]
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
