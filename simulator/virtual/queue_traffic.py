"""A program that uses a queue service: it puts, gets and deletes frames, and groups of consumers watch the queue.

The simulated queue service has the faults of the plan, including those of queues. The program's own hosts have only one
fault: consumers are killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.defer import DeferredList

from simulator.virtual.checkers.queue_reconnects import ReconnectChecker
from simulator.virtual.checkers.queues import ObservedOperation, QueueChecker
from simulator.virtual.network.reactor import VirtualReactor
from simulator.virtual.queue_consumers import GroupSpec, QueueConsumer
from simulator.virtual.queue_probes import install

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from simulator.fleet import Service
    from simulator.virtual.checkers.base import Report
    from simulator.virtual.faults.attribution import FaultAttribution
    from simulator.virtual.network.network import Network
    from simulator.virtual.plan import RunPlan
    from simulator.virtual.queue_consumers import Make

QUEUE = "jobs"
PRODUCER_IP, CONSUMER_NET = "10.5.0.1", "10.5.1."
_SIZES = (0, 10, 10, 100, 1000, 7000)
_IDEMPOTENT, _PRIORITY, _TAGGED = 0.3, 0.1, 0.5
_HOLD_S = (0.0, 0.5, 2.0)
_KEPT_PUTS = 50
_SHORT = 1000
_OPERATIONS = ("put",) * 15 + ("get",) * 4 + ("attributes", "count", "search", "delete", "delete", "truncate", "clear")
_SELDOM = 0.2
_MICRO, _HALF = 1e-6, 500_000
_AGAIN_S = 1.0
_TAGS = {"k": "v"}


@define
class _Put:
    """The result of a successful put."""

    index: int
    request_id: str


class QueueTraffic:
    """The program that uses the queue service.

    Args:
        network: The network.
        service: The queue service.
        plan: The plan.
        make: Creates a client for a host, a user, a group and a seed.
        attribution: Determines which failures the active faults explain.
        report: Called with the name of a checker and the description of a violation.

    Attributes:
        checker: Checks operations and frames.
        operations: Number of operations.
        failed: Number of operations that failed.
    """

    def __init__(
        self,
        network: Network,
        service: Service,
        plan: RunPlan,
        make: Make,
        *,
        attribution: FaultAttribution,
        report: Report,
    ) -> None:
        assert service.queues is not None  # noqa: S101  it is a queue service
        self._scheduler = network.scheduler
        self._network = network
        self._report = report
        self._plan = plan
        self._make = make
        self._service = service
        self._rng = rng = self._scheduler.stream("queues")
        elapsed = self._scheduler.elapsed
        checker = self.checker = QueueChecker(elapsed, attribution, report)
        self._reconnects = ReconnectChecker(elapsed, attribution, report)
        self._is_sink = plan.queue_workers
        checker.service = service.queues
        checker.store = (service.queues.sink if self._is_sink else service.queues.input).store
        checker.is_short = plan.queue_length < _SHORT
        self.groups = self._draw_groups()
        self._reactor = VirtualReactor(network, PRODUCER_IP)
        self.consumers = [
            QueueConsumer(
                network,
                f"{CONSUMER_NET}{number}",
                number,
                group,
                self._scheduler.stream(f"consumer {number}"),
                make=make,
                checker=checker,
                reconnects=self._reconnects,
                is_sink=self._is_sink,
            )
            for number, group in enumerate((each for each in self.groups for _ in range(each.consumers)), 1)
        ]
        self._by_ip = {consumer.reactor.ip: consumer for consumer in self.consumers}
        self._client: Any = None
        self._next: Any = None
        self._answered: list[_Put] = []
        self._is_forced = any(group.tags for group in self.groups) or rng.random() < 0.5  # noqa: PLR2004  a half
        self.operations = self.failed = 0

    def _draw_groups(self) -> list[GroupSpec]:
        rng = self._rng
        groups = []
        for at in range(rng.choice((1, 1, 2))):
            group = GroupSpec(f"g{at}", rng.choice((1, 2, 5, 32)), rng.choice((1, 2, 2, 3)))
            kind = rng.random() if at else 1.0
            if kind < 0.25 and not self.checker.is_short:  # noqa: PLR2004  a quarter; its frames would fill the queue
                group = GroupSpec(group.name, group.window, group.consumers, tags=tuple(_TAGS.items()))
            elif kind < 0.5:  # noqa: PLR2004
                group = GroupSpec(group.name, group.window, group.consumers, auto_commit=True)
            elif rng.random() < 0.15:  # noqa: PLR2004
                group = GroupSpec(group.name, group.window, group.consumers, index_only=True)
            groups.append(group)
        return groups

    # -- start and stop

    def start(self) -> Deferred[Any]:
        """Start the program; the Deferred fires when its client has a list. The service must have been started."""
        install(self._service, self.checker, self._got_at, self._watched_at)
        for consumer in self.consumers:
            consumer.start()
        self._client = self._make(self._reactor, None, "producers", 0)
        ready: Deferred[Any] = self._client.init()
        return ready.addCallback(lambda _: self._again())

    def kill(self, number: int) -> Callable[[], None]:
        """Kill a consumer; return the function that starts it again."""
        return self.consumers[number % len(self.consumers)].kill()

    def stop(self) -> None:
        """Start no more operations, and let every consumer keep its watch open."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        for consumer in self.consumers:
            consumer.stop()

    @property
    def is_settled(self) -> bool:
        """Whether each group has received and committed every frame."""
        groups = self.checker.store.groups
        return not self._missing() and all(
            group.tags or group.auto_commit or (group.name in groups and groups[group.name].is_done)
            for group in self.groups
        )

    def check_settled(self) -> None:
        """Check that no frame is lost."""
        missing = self._missing()
        if missing:
            self._report("queue-nothing-lost", f"{missing[0]}; {len(missing)} in all")
        elif not self.is_settled:
            left = {name: (group.waiting, len(group.pending)) for name, group in self.checker.store.groups.items()}
            self._report("queue-nothing-lost", f"frames are not committed; waiting and pending by group: {left}")

    def end(self) -> None:
        """End the stream of the watched queue."""
        self.checker.is_ended = True
        queue = self._client.sink() if self._is_sink else self._client
        self._run("end", lambda: queue.end(force=self._is_forced))

    @property
    def has_ended(self) -> bool:
        """Whether every consumer has received the end of the stream."""
        return all(consumer.is_over for consumer in self.consumers)

    def close(self) -> Deferred[Any]:
        """Close all clients; the Deferred fires when they are closed."""
        closing = [self._client.close(), *(consumer.close() for consumer in self.consumers)]
        return DeferredList([each for each in closing if each is not None])

    def check_closed(self) -> None:
        """Check that the clients have left no socket and no timer."""
        self.checker.check_over()
        for reactor in (self._reactor, *(consumer.reactor for consumer in self.consumers)):
            left = [socket for socket in self._network.transports if socket.here[0] == reactor.ip]
            self.checker.check_gone(reactor.ip, left or reactor.getDelayedCalls())

    def _missing(self) -> list[str]:
        every = {group.name: group.tags for group in self.groups if not group.auto_commit}
        return self.checker.unsettled(every)

    # -- operations

    def _again(self) -> None:
        rng = self._rng
        self._next = self._reactor.callLater((0.5 + rng.random()) / self._plan.queue_per_s, self._again)
        kind = rng.choice(_OPERATIONS)
        if kind in ("truncate", "clear") and rng.random() >= _SELDOM:
            kind = "put"
        getattr(self, f"_{kind}")()

    def _run(self, kind: str, operate: Callable[[], Any], **more: Any) -> tuple[ObservedOperation, Any]:
        self.operations += 1
        timeout_s = self._client.config.timeout_s
        limit_s = more.pop("limit_s", timeout_s)
        name = more.pop("name", f"{kind} {self.operations}")
        operation = ObservedOperation(name, self._scheduler.elapsed(), limit_s, **more)
        self.checker.begin(operation)
        running = operate()
        succeeded = {"put": self._has_put, "get": self._has_got}.get(kind, self._succeeded)
        running.addCallbacks(succeeded, self._failed, callbackArgs=(operation,), errbackArgs=(operation,))
        return operation, running

    def _put(self) -> None:
        rng = self._rng
        number = self.operations + 1
        data = b"put %d " % number + b"x" * rng.choice(_SIZES)
        tags = _TAGS if rng.random() < _TAGGED else {}
        priority = 2 if rng.random() < _PRIORITY else 0
        may_repeat = rng.random() < _IDEMPOTENT
        self._run(
            "put",
            lambda: self._client.put(data, tags=tags, priority=priority, idempotent=may_repeat),
            says=data,
            is_once=not may_repeat,
        )

    def _get(self) -> None:
        rng, queue = self._rng, self._watched()
        deletes, length = rng.random() < 0.5, rng.choice((1, 1, 3))  # noqa: PLR2004  a half
        number = self.operations + 1
        # A unique timeout identifies the get: the request has no other parameter that the program could make unique.
        timeout_s = rng.choice(_HOLD_S) + number * _MICRO
        wanted: dict[str, Any] = {"length": length}
        if self._answered and rng.random() < 0.5:  # noqa: PLR2004
            wanted = {"request_id": rng.choice(self._answered).request_id}
        self._run(
            "get",
            lambda: queue.get(timeout_s=timeout_s, auto_delete=deletes, **wanted),
            limit_s=timeout_s + self._client.config.timeout_s,
            hold_s=timeout_s,
            is_once=deletes,
        )

    def _attributes(self) -> None:
        self._run("attributes", lambda: self._watched().attributes())

    def _count(self) -> None:
        self._run("count", lambda: self._watched().count())

    def _search(self) -> None:
        index = self._any_index()
        if index:
            self._run("search", lambda: self._watched().search(index), index=index)

    def _delete(self) -> None:
        index = self._any_index()
        if index:
            self._run("delete", lambda: self._watched().delete([index]))

    def _truncate(self) -> None:
        frames = self.checker.store.frames
        if frames:
            self._run("truncate", lambda: self._watched().truncate(next(iter(frames)) + 3))

    def _clear(self) -> None:
        self._run("clear", lambda: self._watched().clear(), limit_s=2 * self._client.config.timeout_s)

    def _watched(self) -> Any:
        return self._client.sink() if self._is_sink else self._client

    def _any_index(self) -> int:
        """Return the index of one of the last frames; 0 if there is none."""
        found = list(self.checker.store.frames)[-20:]
        return self._rng.choice(found) if found else 0

    # -- results

    def _has_put(self, result: Any, operation: ObservedOperation) -> None:
        self.checker.put_succeeded(operation, result.index, result.request_id)
        self._answered.append(_Put(result.index, result.request_id))
        del self._answered[:-_KEPT_PUTS]

    def _has_got(self, frames: Any, operation: ObservedOperation) -> None:
        self.checker.got(operation, frames)

    def _succeeded(self, _: object, operation: ObservedOperation) -> None:
        self.checker.succeeded(operation)

    def _failed(self, failure: Any, operation: ObservedOperation) -> None:
        self.failed += 1
        self._scheduler.log(self.checker.failed(operation, failure.value))
        if operation.name.startswith("end "):
            self._reactor.callLater(_AGAIN_S, self.end)

    # -- at the instances

    def _got_at(self, timeout: str) -> None:
        number = round(float(timeout.removesuffix("s")) / _MICRO) % _HALF
        self.checker.arrived(f"get {number}")

    def _watched_at(self, ip: str, sent_s: float) -> None:
        consumer = self._by_ip.get(ip)
        if consumer is not None and consumer.account is not None:
            self._reconnects.asked(consumer.account, sent_s)
