"""The consumers of a queue: each is a process on its own host that watches, works on frames, and commits them.

A consumer takes every frame that its watch returns. From time to time it closes its watch and begins another one. A
fault can kill it. The code uses callbacks instead of coroutines, because Python would run the `finally` blocks of a
killed process's coroutines when it collects them as garbage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from simulator.virtual.checkers.queue_reconnects import ReconnectAccount
from simulator.virtual.checkers.queues import ObservedOperation, ObservedWatch
from simulator.virtual.network.reactor import VirtualReactor

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from simulator.virtual.checkers.queue_reconnects import ReconnectChecker
    from simulator.virtual.checkers.queues import QueueChecker
    from simulator.virtual.network.network import Network

    Make = Callable[[VirtualReactor, str | None, str, int], Any]

_REJECTED, _SECONDS = 0.05, (0.0, 0.01, 0.1, 0.5)
_LEAVES_AFTER_S = (10.0, 120.0)
_AGAIN_S = 0.5
_RENEWED = 0.5


@frozen
class GroupSpec:
    """A group of consumers.

    Attributes:
        name: Its name.
        window: The window of its watches.
        consumers: Number of its consumers.
        auto_commit: Whether the service commits frames when it sends them.
        index_only: Whether frames are sent without their data.
        tags: The tags that a frame must have to be sent to the group, as pairs; empty for all frames.
    """

    name: str
    window: int = 1
    consumers: int = 1
    auto_commit: bool = False
    index_only: bool = False
    tags: tuple[tuple[str, str], ...] = ()


class QueueConsumer:
    """One consumer.

    Args:
        network: The network.
        ip: The address of its host.
        number: Its number, from 1.
        group: Its group.
        rng: Source of random draws.
        make: Creates a client for a host, a user, a group and a seed.
        checker: Checks the frames that its watches return.
        reconnects: Checks the reconnects of its watches.
        is_sink: Whether it watches the sink instead of the input queue.

    Attributes:
        reactor: The reactor of its current process.
        account: The connections of its current client's watch; `None` without a client.
        is_over: Whether its watch has returned the end of the stream.
    """

    def __init__(  # noqa: PLR0913  all but the first five are keywords
        self,
        network: Network,
        ip: str,
        number: int,
        group: GroupSpec,
        rng: Random,
        *,
        make: Make,
        checker: QueueChecker,
        reconnects: ReconnectChecker,
        is_sink: bool,
    ) -> None:
        self.reactor = VirtualReactor(network, ip)
        self.number = number
        self._network = network
        self._scheduler = network.scheduler
        self._group = group
        self._rng = rng
        self._make = make
        self._checker = checker
        self._reconnects = reconnects
        self._is_sink = is_sink
        self._user = f"u{number}"
        self._client: Any = None
        self._watcher: Any = None
        self._watch: ObservedWatch | None = None
        self._began_s = 0.0
        self._leaving: Any = None
        self._restarting: Any = None
        self._working: list[Any] = []
        self._lives = self._watches = self._commits = 0
        self._is_killed = self._is_stopping = False
        self.is_over = False
        self.account: ReconnectAccount | None = None

    def __repr__(self) -> str:
        return f"<QueueConsumer {self.number} of {self._group.name}>"

    # -- start and stop

    def start(self) -> None:
        """Start the process."""
        self._restarting = None
        self._lives += 1
        self._is_killed = False
        self._began_s = self._scheduler.elapsed()
        client = self._client = self._make(self.reactor, self._user, self._group.name, self.number * 1000 + self._lives)
        self.account = ReconnectAccount(
            self._reconnects, f"consumer {self.number}", client, is_http=client.config.queue_watch == "http"
        )
        client.listen(self.account.hear)
        client.init().addCallbacks(self._ready, self._not_ready)

    def kill(self) -> Callable[[], None]:
        """Kill the process; return the function that starts it again."""
        if self._client is None:
            return _nothing
        self.reactor.kill()
        self.reactor = VirtualReactor(self._network, self.reactor.ip)
        self._is_killed = True
        self._leaving = self._restarting = None
        self._working = []
        if self._watch is not None:
            self._checker.left(self._watch)
        for operation in self._checker.of(self._name):
            self._checker.forget(operation)
        self._client = self._watcher = self._watch = self.account = None
        return self._revive

    def _revive(self) -> None:
        """Start the process again, unless the end of another fault has started it."""
        if self._is_killed:
            self.start()

    def stop(self) -> None:
        """Close no watch from now on, except that a watch over plain HTTP is replaced once.

        Plain HTTP has no pings, so the connection may have been lost without an error.
        """
        self._is_stopping = True
        self._cancel_leaving()
        if self.account is not None and self.account.is_http:
            self._leave()

    def close(self) -> Any:
        """Close the client; return its Deferred, or `None` if there is no client."""
        self._cancel_leaving()
        for timer in self._working:
            if timer.active():
                timer.cancel()
        if self._restarting is not None:
            self._restarting.cancel()
            self._restarting = None
        client, self._client = self._client, None
        if self._watch is not None:
            self._watch.is_closing = True
        return None if client is None else client.close()

    @property
    def _name(self) -> str:
        return f"commit of {self.number}."

    def _ready(self, _: object) -> None:
        client = self._client
        client._runtime.fleet.observe(self.account)  # noqa: SLF001  the fleet of a client has no public name
        self._begin()

    def _not_ready(self, failure: Any) -> None:
        self._scheduler.log(f"consumer {self.number} has no list: {failure.value}")
        self._checker.not_ready(f"consumer {self.number}", self._began_s, failure.value)
        self._renew()

    def _renew(self) -> None:
        """Close the client, and start another one."""
        client, self._client = self._client, None
        closing = client.close()
        closing.addCallback(lambda _: self._later(self._start_again))

    def _start_again(self) -> None:
        left = [socket for socket in self._network.transports if socket.here[0] == self.reactor.ip]
        self._checker.check_gone(f"consumer {self.number}", left)
        self.start()

    def _later(self, act: Callable[[], None]) -> None:
        if not self._is_killed:
            self._restarting = self.reactor.callLater(_AGAIN_S + self._rng.random(), act)

    # -- watching

    def _begin(self) -> None:
        """Begin a watch."""
        self._restarting = None
        group = self._group
        self._watches += 1
        name = f"watch {self.number}.{self._watches}"
        watch = self._watch = ObservedWatch(
            name,
            self._user,
            group.name,
            group.window,
            group.auto_commit,
            group.index_only,
            self._scheduler.elapsed(),
        )
        self._checker.watch_began(watch)
        assert self.account is not None  # noqa: S101  created with the client
        self.account.begin()
        queue = self._client.sink() if self._is_sink else self._client
        watcher = self._watcher = queue.watch(
            window=group.window, auto_commit=group.auto_commit, index_only=group.index_only, tags=dict(group.tags)
        )
        watcher.open().addCallbacks(self._opened, self._ended, callbackArgs=(watch,), errbackArgs=(watch,))
        if not self._is_stopping:
            self._leaving = self.reactor.callLater(self._rng.uniform(*_LEAVES_AFTER_S), self._leave)

    def _leave(self) -> None:
        """Close the watch and begin another one later, or close the client and start another one."""
        self._leaving = None
        watch, watcher = self._watch, self._watcher
        if watch is None or watch.is_closing:
            return
        watch.is_closing = True
        self._scheduler.log(f"consumer {self.number} leaves")
        if self._rng.random() < _RENEWED:
            self._renew()
        else:
            watcher.close().addCallback(self._closed)

    def _opened(self, _: object, watch: ObservedWatch) -> None:
        self._read(watch)

    def _read(self, watch: ObservedWatch) -> None:
        if watch is self._watch:
            self._watcher.next_frame().addCallbacks(self._got, self._ended, callbackArgs=(watch,), errbackArgs=(watch,))

    def _got(self, frame: Any, watch: ObservedWatch) -> None:
        if frame is None:
            self._watch = None
            self._cancel_leaving()
            self._checker.watch_ended(watch, None)
            self.is_over = not watch.is_closing
            return
        self._checker.returned(watch, frame)
        if not self._group.auto_commit:
            self._settle_later(self._rng.choice(_SECONDS) * self._rng.random(), frame, watch)
        # Read in another turn: otherwise this method would recurse for each frame that has already arrived.
        self.reactor.callLater(0, self._read, watch)

    def _ended(self, failure: Any, watch: ObservedWatch) -> None:
        """Handle the error of a watch."""
        self._watch = None
        self._cancel_leaving()
        self._scheduler.log(f"{watch.name} {type(failure.value).__name__}: {failure.value}")
        self._checker.watch_ended(watch, failure.value)
        if not watch.is_closing:
            self._watcher.close().addCallback(self._closed)

    def _closed(self, _: object) -> None:
        if self._client is not None:
            self._later(self._begin)

    def _cancel_leaving(self) -> None:
        leaving, self._leaving = self._leaving, None
        if leaving is not None and leaving.active():
            leaving.cancel()

    # -- commits and rejects

    def _settle_later(self, after_s: float, frame: Any, watch: ObservedWatch) -> None:
        working = self._working = [timer for timer in self._working if timer.active()]
        working.append(self.reactor.callLater(after_s, self._settle, frame, watch))

    def _settle(self, frame: Any, watch: ObservedWatch) -> None:
        """Commit or reject a frame."""
        if watch is not self._watch or watch.is_closing or frame.index in watch.committed:
            return
        self._commits += 1
        is_reject = self._rng.random() < _REJECTED and not self._is_stopping
        self._checker.settles(watch, frame.index, is_reject=is_reject)
        # Twice the timeout, because a commit may wait until the request with the commits before it has ended.
        operation = ObservedOperation(
            f"{self._name}{self._commits}", self._scheduler.elapsed(), 2 * self._client.config.timeout_s
        )
        self._checker.begin(operation)
        settling = self._watcher.reject(frame, "Busy") if is_reject else self._watcher.commit(frame)
        given = (operation, frame, watch)
        settling.addCallbacks(
            self._rejected if is_reject else self._committed, self._not_settled, callbackArgs=given, errbackArgs=given
        )

    def _rejected(self, _: object, operation: ObservedOperation, frame: Any, watch: ObservedWatch) -> None:  # noqa: ARG002
        self._checker.succeeded(operation)

    def _committed(self, _: object, operation: ObservedOperation, frame: Any, watch: ObservedWatch) -> None:
        self._checker.succeeded(operation)
        self._checker.committed(watch, frame.index)

    def _not_settled(self, failure: Any, operation: ObservedOperation, frame: Any, watch: ObservedWatch) -> None:
        if watch.is_closing:
            self._checker.forget(operation)  # a closing client waits for commits no longer than drain_timeout_s
            return
        self._scheduler.log(self._checker.failed(operation, failure.value))
        if watch is self._watch:
            self._settle_later(_AGAIN_S, frame, watch)


def _nothing() -> None:
    """Do nothing: there is no process to start again."""
