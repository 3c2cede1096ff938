"""`ClientRuntime`, the objects of a client that exist from `init` to `close`, created for one endpoint type.

`PredictClient` is the public API and stores the settings before `init`. `ClientRuntime` creates discovery, fleet and
pools from these settings and connects them.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING

from attrs import define, evolve
from twisted.logger import Logger

from eas_tw.errors import ClientClosed, DiscoveryError
from eas_tw.net.call_context import CallContext
from eas_tw.net.clock_watch import watch
from eas_tw.net.discovery import DiscoveryStatus, Poller
from eas_tw.net.disk_copy import DiskCopy
from eas_tw.net.ready_waiters import ReadyWaiters
from eas_tw.net.upstream import Pools, Upstream
from eas_tw.policy.hedging import Hedging
from eas_tw.policy.instances import UNREACHED_ADVICE
from eas_tw.policy.retry import RetryBudget, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.interfaces import IDelayedCall
    from twisted.web.iweb import IAgent

    from eas_tw.config import ClientConfig
    from eas_tw.net.fleet import Fleet
    from eas_tw.net.gateway import Gateway
    from eas_tw.net.pool import Reactor
    from eas_tw.policy.instances import DiscoveryReplyRejected, Instance, Snapshot
    from eas_tw.target import ClientTarget, Destination
    from eas_tw.telemetry.record import Record

_log = Logger(namespace="eas_tw.client")

_LONG_LIST = 1_000
"""The minimum number of rows for which `_no_collection` disables the garbage collector; fewer rows take a few ms."""


@define
class _SharedBudget:
    """A retry budget, and the number of clients that use it."""

    budget: RetryBudget
    users: int = 0


class SharedResources:
    """The objects that a client shares with its children: the pools, and one retry budget for each destination.

    Attributes:
        reactor: The reactor, for connections and timers; its `seconds` is elapsed time.
    """

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self._pools: Pools | None = None
        self._budgets: dict[Destination, _SharedBudget] = {}

    def pools(self, config: ClientConfig) -> Pools:
        """Return the pools; the first call creates them with its `config`."""
        if self._pools is None:
            self._pools = Pools(self.reactor, config)
        return self._pools

    def acquire_budget(self, destination: Destination, config: ClientConfig) -> RetryBudget:
        """Return the retry budget of a destination, and increment its user count.

        The key includes the endpoint, because a child may get another endpoint before its `init`, and the same service
        name at another endpoint is a different service. Call `release_budget` once for each call of this method.
        """
        shared = self._budgets.get(destination)
        if shared is None:
            budget = RetryBudget(config.retry_budget_ratio, config.retry_budget_min_per_s)
            shared = self._budgets[destination] = _SharedBudget(budget)
        shared.users += 1
        return shared.budget

    def release_budget(self, destination: Destination) -> None:
        """Release a retry budget, and delete it after the last user.

        Without deletion, budgets would accumulate in a program that creates clients for more and more services.
        """
        shared = self._budgets[destination]
        shared.users -= 1
        if not shared.users:
            del self._budgets[destination]


class ClientRuntime:
    """The objects of a client between `init` and `close`.

    Args:
        reactor: The reactor, for connections and timers; its `seconds` is elapsed time.
        config: The settings.
        target: The service and its endpoint; `target.check_complete` has passed.
        shared: The resources that are shared with parent and children.
        record: The telemetry record, which counts calls and creates events.
        agent: The Twisted agent for the control plane and the gateway; `None` for direct requests.
        wall_clock: A function that returns seconds since the epoch, for the age of the disk copy.

    Attributes:
        call_context: The state that all calls of the client share.
        fleet: The instances of the service, or the gateway.
    """

    def __init__(
        self,
        reactor: Reactor,
        config: ClientConfig,
        target: ClientTarget,
        *,
        shared: SharedResources,
        record: Record,
        agent: IAgent | None,
        wall_clock: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._config = config
        self._target = target
        self._record = record
        self._agent = agent
        self._ready_waiters = ReadyWaiters(reactor)
        self._poller: Poller | None = None
        self._disk_copy: DiskCopy | None = None
        self._discovered: tuple[Instance, ...] = ()  # the last list, before `instance_filter`
        self._copy_from: float | None = None
        self._saving: IDelayedCall | None = None
        self._end_watch: Callable[[], None] = lambda: None
        self._shared = shared
        self._pools = shared.pools(config)
        hedging = Hedging(config.hedge_after_s)
        self.fleet: Fleet = self._gateway() if target.is_gateway else self._upstream(hedging)
        make_policy = RetryPolicy.through_gateway if target.is_gateway else RetryPolicy
        self.call_context = CallContext(
            reactor,
            make_policy(config.attempts, config.retry_on, config.backoff_base_s, config.backoff_max_s),
            shared.acquire_budget(target.destination, config),
            hedging,
            attempt_timeout_s=config.attempt_timeout_s,
            rng=self._stream("retry"),
            record=record,
        )

    @property
    def is_ready(self) -> bool:
        """Whether the fleet has instances, or a gateway, to send calls to."""
        return self.fleet.is_ready

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The list of instances; empty for a gateway."""
        return self.fleet.instances

    @property
    def ejected(self) -> tuple[Instance, ...]:
        """The instances that are ejected at the moment."""
        out = set(self.fleet.ejected)
        return tuple(instance for instance in self.instances if instance.key in out)

    @property
    def discovery(self) -> DiscoveryStatus:
        """The number of polls, the age of the list, and the rejected replies by reason."""
        if self._poller is None:
            return DiscoveryStatus()
        status = self._poller.status
        return status if self._copy_from is None else evolve(status, age_s=self._age_s(), is_stale=True)

    def connections(self, instance: Instance) -> int:
        """Return the number of established connections to an instance."""
        return self._pools.connections(instance.key)

    async def ready(self) -> None:
        """Wait for a list of instances from discovery; after `init_timeout_s`, use the disk copy if it exists.

        Raises:
            DiscoveryError: No valid list arrived within `init_timeout_s`, and there is no usable disk copy.
            ClientClosed: The client was closed meanwhile.
        """
        if self.is_ready:
            return
        try:
            await self._ready_waiters.wait(self._config.init_timeout_s, self._no_list)
        except DiscoveryError:
            if not self._use_disk_copy():
                raise

    async def close(self, closed: ClientClosed) -> None:
        """Stop discovery, drain the calls in flight, and close the connections.

        Args:
            closed: The error of calls that do not finish in time, and of callers that wait in `ready`.
        """
        try:
            await self._close(closed)
        finally:
            self._end_watch()
            self._shared.release_budget(self._target.destination)

    async def _close(self, closed: ClientClosed) -> None:
        if self._poller is not None:
            await self._poller.stop()
        if self._saving is not None:
            self._saving.cancel()
            self._save()
        self._ready_waiters.release(closed)
        await self.call_context.drain(self._config.drain_timeout_s, closed)
        await self.fleet.close()

    # -- construction

    def _gateway(self) -> Gateway:
        # Imported here, so that programs with direct connections do not load the module.
        from eas_tw.net.gateway import Gateway  # noqa: PLC0415

        return Gateway(self._reactor, self._target.gateway_url, self._config, self._agent)

    def _upstream(self, hedging: Hedging) -> Upstream:
        config, target = self._config, self._target
        upstream = Upstream(
            self._reactor,
            self._pools,
            config,
            hedging=hedging,
            record=self._record,
            rng=self._stream("rotation"),
        )
        source = target.make_source(self._reactor, config, self._stream("source"), self._agent)
        if source is None:
            upstream.apply(target.instances)
            return upstream
        if config.snapshot_path:
            self._disk_copy = DiskCopy(config.snapshot_path, target.endpoint, target.service)
        self._poller = Poller(
            self._reactor,
            source,
            service=target.service,
            on_snapshot=self._got_list,
            on_rejected=self._got_rejection,
            interval_s=config.poll_interval_s,
            jitter=config.poll_jitter,
            rng=self._stream("poll"),
        )
        return upstream

    def start(self) -> None:
        """Start discovery."""
        # After a step of the machine's clock, timers are late by at most one poll interval because of this watch.
        self._end_watch = watch.add(self._reactor, self._config.poll_interval_s)
        if self._poller is not None:
            self._poller.start()

    def _stream(self, name: str) -> Random:
        """Create the rng for one purpose, so that an additional draw in one module changes no other module's draws."""
        seed = self._config.seed
        return Random(None if seed is None else f"{seed}/{self._target.service}/{name}")  # noqa: S311

    def _got_list(self, snapshot: Snapshot) -> None:
        self._take_over(snapshot.instances, copy_from=None)
        self._discovered = snapshot.instances
        if self._disk_copy is not None and self._saving is None:
            # Saved in the next turn of the reactor, because applying and writing a long list each take several ms.
            self._saving = self._reactor.callLater(0, self._save)

    def _save(self) -> None:
        self._saving = None
        if self._disk_copy is not None:
            self._disk_copy.save(self._discovered, self._reactor.seconds(), self._wall_clock())

    def _got_rejection(self, error: DiscoveryReplyRejected) -> None:
        self._record.poll_rejected(error.reason.value, str(error))

    def _take_over(self, instances: tuple[Instance, ...], *, copy_from: float | None) -> None:
        with _no_collection(len(instances) + len(self.instances)):
            self.fleet.apply(instances)
        # Set only after `apply`: if it raises, the previous list remains in use.
        self._copy_from = copy_from
        self._ready_waiters.release()

    def _use_disk_copy(self) -> bool:
        copy = None if self._disk_copy is None else self._disk_copy.load(self._wall_clock())
        if copy is None:
            return False
        _log.warn(
            "{service}: discovery has not answered; using the list of {n} instances that was copied {age} s ago",
            service=self._target.service,
            n=len(copy.instances),
            age=round(copy.age_s),
        )
        self._take_over(copy.instances, copy_from=self._reactor.seconds() - copy.age_s)
        return True

    def _age_s(self) -> float | None:
        return None if self._copy_from is None else self._reactor.seconds() - self._copy_from

    def _no_list(self) -> DiscoveryError:
        status, target = self.discovery, self._target
        why = status.last_error or "the control plane has not answered yet"
        advice = (self._poller and self._poller.advice) or UNREACHED_ADVICE
        return DiscoveryError(
            f"no usable list of instances of {target.service} from {target.endpoint} within "
            f"{self._config.init_timeout_s:g} s and {status.polls} polls; the last: {why}; {advice}"
        )


@contextmanager
def _no_collection(rows: int) -> Iterator[None]:
    """Disable the garbage collector while a long list is applied.

    Almost all objects that are created for the list stay alive, so collections free nothing. With 10,000 rows they
    account for half of the 50 ms during which the reactor is blocked.
    """
    if rows < _LONG_LIST or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
