"""The live fleet of one service: discovery's changes go in, and a call gets an instance out.

`Pools` are the connections, one pool an instance, shared by all clients of a family (`PredictClient.child`): an
instance's pool lives as long as one of them has the instance in its list.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from eas_tw.net.flush import Flusher
from eas_tw.net.pool import Pool
from eas_tw.policy.health import Health, HealthPolicy
from eas_tw.policy.instances import Added, Change, Instance, Removed, Reweighted, changes
from eas_tw.policy.rotation import Rotation

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from random import Random

    from eas_tw.config import ClientConfig
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.outcomes import Outcome
    from eas_tw.telemetry.counters import Counters

    Key = tuple[str, int]

_log = Logger(namespace="eas_tw.upstream")


class Pools:
    """The pools of all instances that somebody has in a list, and of those whose last requests still run."""

    def __init__(self, reactor: Reactor, config: ClientConfig) -> None:
        self._reactor = reactor
        self._config = config
        self._flusher = Flusher(reactor)
        self._pools: dict[Key, Pool] = {}
        self._users: Counter[Key] = Counter()
        self._leaving: dict[Pool, None] = {}
        self._waiters: list[Deferred[None]] = []

    def take(self, instance: Instance) -> Pool:
        """The instance's pool, for one more user."""
        key = instance.key
        self._users[key] += 1
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(self._reactor, instance, self._config, self._flusher, self._forget)
        return pool

    def give_back(self, instance: Instance) -> None:
        """One user fewer; after the last the pool retires."""
        key = instance.key
        self._users[key] -= 1
        if self._users[key] == 0:
            del self._users[key]
            pool = self._pools.pop(key)
            self._leaving[pool] = None
            pool.retire()

    def when_gone(self) -> Deferred[None]:
        """Fires when every socket of the retired pools has reported its loss."""
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        self._tell_if_gone()
        return waiter

    def connections(self, key: Key) -> int:
        """Established connections to an instance."""
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
    """The instances of one service."""

    def __init__(self, pools: Pools, config: ClientConfig, *, counters: Counters, rng: Random) -> None:
        self.instances: tuple[Instance, ...] = ()
        self._pools = pools
        self._members: dict[Key, Pool] = {}
        self._pickable: dict[Key, Instance] = {}
        self._rotation = Rotation(rng)
        self._health = Health(
            HealthPolicy(
                eject_after=config.eject_after,
                eject_base_s=config.eject_base_s,
                eject_max_s=config.eject_max_s,
                max_ejected_ratio=config.max_ejected_ratio,
            ),
            rng,
        )
        self._counters = counters

    @property
    def ejected(self) -> tuple[Key, ...]:
        """The instances left out at the moment (ip and port)."""
        return self._health.ejected

    def apply(self, instances: Sequence[Instance]) -> tuple[Change, ...]:
        """Take over a new list.

        Returns:
            What changed; nothing is rebuilt when nothing did.
        """
        if self.instances == tuple(instances):
            return ()
        found = changes(self.instances, instances)
        self.instances = tuple(instances)
        self._pickable = {instance.key: instance for instance in instances if instance.weight > 0}
        removed = [change.instance for change in found if isinstance(change, Removed)]
        joined = [change.instance for change in found if isinstance(change, Added | Reweighted)]
        for change in found:
            if isinstance(change, Added):
                self._members[change.instance.key] = self._pools.take(change.instance)
        self._rotate(removed, joined)
        # Last, with the new rotation in place: retiring a pool sends its waiting calls elsewhere.
        for instance in removed:
            del self._members[instance.key]
            self._pools.give_back(instance)
        if found:
            _log.info("list of instances changed: {changes}", changes=_summary(found))
        return found

    def choose(self, tried: Collection[Key], failed: Collection[Key], now: float) -> Instance | None:
        """The instance for an attempt.

        Args:
            tried: Instances this call has tried.
            failed: Those of them that have failed, which a stale pooled connection is not.
            now: The reactor's seconds.

        Returns:
            By weight one that is untried and well; else an untried one that is ejected; else one that has not failed;
            else the only instance of the list; else `None`.
        """
        returning = self._health.returning(now)
        if returning:
            self._rotation.add(self._pickable[key] for key in returning if key in self._pickable)
        picked = self._rotation.pick(tried)
        return picked if picked is not None else self._last_resort(tried, failed)

    def pool_of(self, instance: Instance) -> Pool:
        """The pool of an instance that is in the list."""
        return self._members[instance.key]

    def has_another(self, failed: Collection[Key]) -> bool:
        """Whether an instance exists that has not failed."""
        return any(key not in failed for key in self._pickable)

    @property
    def is_sole(self) -> bool:
        """Whether the list has one instance to pick from only."""
        return len(self._pickable) == 1

    def record(self, instance: Instance, outcome: Outcome, now: float) -> None:
        """Take note of how an attempt on an instance ended."""
        if self._health.record(instance.key, outcome, now):
            self._rotation.remove([instance.key])
            self._counters.ejections[instance.address] += 1
            _log.warn("ejected {instance}: {outcome}", instance=instance.address, outcome=str(outcome))

    def leave(self) -> None:
        """Give everything back: the list is empty from now on."""
        self.apply(())

    def _rotate(self, removed: Sequence[Instance], joined: Sequence[Instance]) -> None:
        self._rotation.remove([instance.key for instance in removed])
        back = self._health.set_fleet(self._pickable)
        ejected = set(self._health.ejected)
        self._rotation.add([instance for instance in joined if instance.key not in ejected])
        self._rotation.add([self._pickable[key] for key in back if key not in self._rotation])

    def _last_resort(self, tried: Collection[Key], failed: Collection[Key]) -> Instance | None:
        for key in self._health.ejected:
            if key not in tried:
                return self._pickable.get(key)
        picked = self._rotation.pick(failed)
        if picked is None and self.is_sole:
            return next(iter(self._pickable.values()))
        return picked


def _summary(found: Sequence[Change]) -> str:
    signs = {Added: "+", Removed: "-", Reweighted: "~"}
    shown = [
        f"{signs[type(change)]}{change.instance.address} (weight {change.instance.weight:g})" for change in found[:8]
    ]
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
