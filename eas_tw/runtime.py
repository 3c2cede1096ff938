"""A client that has been opened: its modules, wired for one endpoint type, from `init` to `close`.

`PredictClient` is the public API and holds what is set before; this is what runs.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING

from attrs import define, evolve
from twisted.logger import Logger

from eas_tw.errors import ClientClosed, DiscoveryError
from eas_tw.net.call import CallContext
from eas_tw.net.clock_watch import watch
from eas_tw.net.discovery import DiscoveryStatus, Poller
from eas_tw.net.disk_copy import DiskCopy
from eas_tw.net.ready_waiters import ReadyWaiters
from eas_tw.net.upstream import Pools, Upstream
from eas_tw.policy.hedging import Hedging
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


@define
class _SharedBudget:
    """A retry budget, and how many clients use it."""

    budget: RetryBudget
    users: int = 0


class SharedResources:
    """What a client shares with its children: connections, and one retry budget for each service at each endpoint.

    Attributes:
        reactor: Clock and network; its time is elapsed time.
    """

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self._pools: Pools | None = None
        self._budgets: dict[Destination, _SharedBudget] = {}

    def pools(self, config: ClientConfig) -> Pools:
        """The connections, with the settings of whoever asks first."""
        if self._pools is None:
            self._pools = Pools(self.reactor, config)
        return self._pools

    def acquire_budget(self, destination: Destination, config: ClientConfig) -> RetryBudget:
        """Return the retry budget of a destination; it lives until the last user releases it.

        A child may be given another endpoint before its `init`; the same service name there is another service.
        """
        shared = self._budgets.get(destination)
        if shared is None:
            budget = RetryBudget(config.retry_budget_ratio, config.retry_budget_min_per_s)
            shared = self._budgets[destination] = _SharedBudget(budget)
        shared.users += 1
        return shared.budget

    def release_budget(self, destination: Destination) -> None:
        """Drop the budget after its last user: a program may make a client for each of any number of services."""
        shared = self._budgets[destination]
        shared.users -= 1
        if not shared.users:
            del self._budgets[destination]


class ClientRuntime:
    """The parts behind a client.

    Args:
        reactor: Clock and network; its time is elapsed time.
        config: The settings, which do not change any more.
        target: What the client is aimed at; complete.
        shared: Shared with children.
        record: Told what happens.
        agent: Another way to reach the control plane and the gateway.
        wall_clock: Seconds since the epoch, for what is kept on disk.

    Attributes:
        call_context: The calls in flight, and what they share.
        fleet: Where they may go.
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
        """Whether calls have somewhere to go."""
        return self.fleet.is_ready

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The list; empty for the gateway."""
        return self.fleet.instances

    @property
    def ejected(self) -> tuple[Instance, ...]:
        """The instances that are left out for a while."""
        out = set(self.fleet.ejected)
        return tuple(instance for instance in self.instances if instance.key in out)

    @property
    def discovery(self) -> DiscoveryStatus:
        """The account of discovery."""
        if self._poller is None:
            return DiscoveryStatus()
        status = self._poller.status
        return status if self._copy_from is None else evolve(status, age_s=self._age_s(), is_stale=True)

    def connections(self, instance: Instance) -> int:
        """Established connections to an instance."""
        return self._pools.connections(instance.key)

    async def ready(self) -> None:
        """Wait until there is a list, of discovery or from the disk."""
        if self.is_ready:
            return
        try:
            await self._ready_waiters.wait(self._config.init_timeout_s, self._no_list)
        except DiscoveryError:
            if not self._use_disk_copy():
                raise

    async def close(self, closed: ClientClosed) -> None:
        """End calls, discovery and connections; those who wait fail with `closed`."""
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

    # -- how it is wired

    def _gateway(self) -> Gateway:
        # Imported here: direct connections do not pay for it.
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
        """Begin to poll."""
        # What a step of the clock can cost is one poll interval.
        self._end_watch = watch.add(self._reactor, self._config.poll_interval_s)
        if self._poller is not None:
            self._poller.start()

    def _stream(self, name: str) -> Random:
        """One random stream per purpose, so that one draw more here changes nothing there."""
        seed = self._config.seed
        return Random(None if seed is None else f"{seed}/{self._target.service}/{name}")  # noqa: S311

    def _got_list(self, snapshot: Snapshot) -> None:
        self._take_over(snapshot.instances, copy_from=None)
        if self._disk_copy is not None and self._saving is None:
            # In a turn of its own: to apply a long list and to write it each take their time.
            self._saving = self._reactor.callLater(0, self._save)

    def _save(self) -> None:
        self._saving = None
        if self._disk_copy is not None:
            self._disk_copy.save(self.instances, self._reactor.seconds(), self._wall_clock())

    def _got_rejection(self, error: DiscoveryReplyRejected) -> None:
        self._record.poll_rejected(error.reason.value, str(error))

    def _take_over(self, instances: tuple[Instance, ...], *, copy_from: float | None) -> None:
        with _no_collection(len(instances) + len(self.instances)):
            self.fleet.apply(instances)
        # Only now: a list that could not be applied is not the one in force.
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
        return DiscoveryError(
            f"no usable list of instances of {target.service} from {target.endpoint} within "
            f"{self._config.init_timeout_s:g} s and {status.polls} polls; the last: {why}"
        )


@contextmanager
def _no_collection(rows: int) -> Iterator[None]:
    """Let Python's collector wait while a long list is applied.

    Of 10,000 rows almost every object that is made stays, and is looked through up to three times for nothing: half of
    the 50 ms that the reactor would be held up.
    """
    if rows < _LONG_LIST or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
