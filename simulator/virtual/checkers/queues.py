"""Checks of a queue service: puts, gets, watches and commits.

The rules come from the reference page of the queue client. `queue_probes` reports the changes of the simulated queue,
and `queue_traffic` reports the results of the programs' clients, which the checker compares with these changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from simulator.virtual.checkers.base import Checker
from simulator.virtual.checkers.calls import KNOWN, ObservedAttempt
from simulator.virtual.faults.catalog import STATUS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from simulator.queues.frames import Frame as StoredFrame
    from simulator.queues.queue import QueueService
    from simulator.queues.store import QueueStore

_CLIENT = -1
"""Client number of the queue's programs.

No client under test has this number, so faults in the processes of clients under test do not explain a failure of these
programs.
"""
_OVERDUE_S = 1.0
_SHORT_S = 0.25
_STALE_S = 29.0
"""Minimum time for which frames of an earlier connection count in the window: the client's 30 s minus one second."""
_ENDS_WITHIN_S = 30.0
_LISTED_S = 25.0
_FULL, _ENDED, _NOT_FOUND = 429, 410, 404
_KNOWN = KNOWN - {"LocalResourceError"}


@define(eq=False)
class ObservedOperation:
    """An operation in flight.

    Attributes:
        name: Its name, such as `put 7`.
        began_s: When it began, in virtual seconds.
        limit_s: The time within which it must end, in seconds.
        index: Index of the frame that it requests, which may have been deleted meanwhile; 0 for none.
        hold_s: The time for which the service may delay its response, in seconds.
        says: The bytes that it puts; empty for other operations.
        is_once: Whether the service must not execute it twice.
        arrivals: Number of times that its request has reached an instance.
        stored: The indexes of the frames that it has put.
        is_answered: Whether the client has reported its success.
    """

    name: str
    began_s: float
    limit_s: float
    hold_s: float = 0.0
    index: int = 0
    says: bytes = field(default=b"", repr=False)
    is_once: bool = False
    arrivals: int = 0
    stored: list[int] = field(factory=list)
    is_answered: bool = False


@define(eq=False)
class ObservedWatch:
    """A watch of one consumer, over all of its connections.

    Attributes:
        name: Its name, such as `watch 2.1` for the first watch of consumer 2.
        user: The consumer's id.
        group: Its group.
        window: The maximum number of frames that it may have in hand.
        auto_commit: Whether the service commits frames when it sends them.
        index_only: Whether frames are sent without their data.
        began_s: When it began, in virtual seconds.
        in_hand: Frames that were returned, and for which no commit or reject has begun: index to the virtual time of
            the return, in seconds.
        returned: Frames that were returned, and were neither committed nor rejected afterwards.
        committed: Frames whose commit has succeeded.
        last_index: The index of the last returned frame; 0 for none.
        is_closing: Whether the program closes it.
    """

    name: str
    user: str
    group: str
    window: int
    auto_commit: bool
    index_only: bool
    began_s: float
    in_hand: dict[int, float] = field(factory=dict)
    returned: dict[int, None] = field(factory=dict)
    committed: dict[int, None] = field(factory=dict)
    last_index: int = 0
    is_closing: bool = False


@define(eq=False, slots=False)
class QueueChecker(Checker):
    """Checks the invariants of queues in `CHECKERS`, except those of reconnects and `queue-nothing-lost`.

    Attributes:
        service: The queues; set by the world.
        store: The queue that is watched.
        is_short: Whether the queues are short, so that a put may find them full without a fault.
        is_ended: Whether the program has ended the stream of the watched queue.
    """

    service: QueueService = field(init=False)
    store: QueueStore = field(init=False)
    is_short: bool = field(init=False, default=False)
    is_ended: bool = field(init=False, default=False)
    _ended_s: float = field(init=False, default=0.0)
    _operations: dict[str, ObservedOperation] = field(init=False, factory=dict)
    _puts: dict[bytes, ObservedOperation] = field(init=False, factory=dict)
    _frames: dict[int, StoredFrame] = field(init=False, factory=dict)
    _returned_to: dict[str, set[int]] = field(init=False, factory=dict)
    _given_back: dict[str, set[int]] = field(init=False, factory=dict)
    _redelivered: dict[str, dict[int, float]] = field(init=False, factory=dict)
    _removed: set[bytes] = field(init=False, factory=set)
    _watches: dict[str, ObservedWatch] = field(init=False, factory=dict)

    # -- operations

    def begin(self, operation: ObservedOperation) -> None:
        """Handle the start of an operation."""
        self._operations[operation.name] = operation
        if operation.says:
            self._puts[operation.says] = operation

    def arrived(self, name: str) -> None:
        """Handle the arrival of an operation's complete request at an instance."""
        operation = self._operations.get(name)
        if operation is None:
            return
        operation.arrivals += 1
        if operation.is_once and operation.arrivals > 1:
            self._report("queue-get-once", f"{name} deletes what it gets, and has reached an instance again")

    def succeeded(self, operation: ObservedOperation) -> None:
        """Handle the success of an operation."""
        operation.is_answered = True
        self._end(operation)

    def put_succeeded(self, operation: ObservedOperation, index: int, request_id: str) -> None:
        """Handle the success of a put."""
        self.succeeded(operation)
        frame = self._frames.get(index) if self.store is self.service.input.store else None
        if index not in operation.stored:
            self._report("queue-put-once", f"{operation.name} got the index {index}, and has put {operation.stored}")
        if frame is not None and frame.tags["requestId"] != request_id:
            self._report("queue-put-once", f"{operation.name} got the request id of another frame, {request_id}")

    def failed(self, operation: ObservedOperation, error: BaseException) -> str:
        """Handle the failure of an operation; return a description for the log."""
        self._end(operation)
        now_s, kind = self._seconds(), type(error).__name__
        attempts = [ObservedAttempt.of(attempt) for attempt in getattr(error, "attempts", ())]
        trail = ", ".join(map(str, attempts)) or "no attempt ended"
        says = f"{operation.name} {kind} after {now_s - operation.began_s:.3f} s: {trail}"
        window = (operation.began_s, now_s)
        if kind not in _KNOWN:
            self._report("queue-operation-ends", f"{operation.name} failed as {kind}: {error}")
        elif not attempts and not self._attribution.is_disturbed(*window):
            self._report("queue-operation-ends", f"nothing explains that {says}")
        for at, tried in enumerate(attempts):
            is_short = tried.elapsed_s < operation.hold_s + _SHORT_S
            if at and is_short and tried.attempt_status in ("deadline", "waited"):
                continue  # earlier attempts and pauses have used up the time
            if not self._explains(tried, operation, window):
                self._report("queue-operation-ends", f"nothing explains {tried} of {says}")
        return says

    def look(self) -> None:
        """Report operations that should have ended, and watches that run long after the end of their stream."""
        now_s = self._seconds()
        for operation in list(self._operations.values()):
            if now_s > operation.began_s + operation.limit_s + _OVERDUE_S:
                del self._operations[operation.name]
                says = f"has not ended {now_s - operation.began_s:.1f} s after it began, of {operation.limit_s:g}"
                self._report("queue-operation-ends", f"{operation.name} {says}")
        if not self.is_ended:
            return
        for watch in list(self._watches.values()):
            if not watch.is_closing and self.store.has_ended_for(watch.group):
                self._ended_s = self._ended_s or now_s
                if now_s > max(self._ended_s, watch.began_s) + _ENDS_WITHIN_S:
                    del self._watches[watch.name]
                    self._report("queue-end", f"{watch.name} goes on, and its stream has ended long ago")

    def of(self, name: str) -> list[ObservedOperation]:
        """Return the operations in flight whose names begin with `name`."""
        return [operation for operation in self._operations.values() if operation.name.startswith(name)]

    def forget(self, operation: ObservedOperation) -> None:
        """Remove an operation whose process was killed."""
        self._operations.pop(operation.name, None)

    def not_ready(self, name: str, began_s: float, error: BaseException) -> None:
        """Handle an `init` that failed because the client got no list."""
        attribution, now_s = self._attribution, self._seconds()
        window = (began_s, now_s)
        if not (attribution.disturbs_discovery(_CLIENT, *window) or attribution.disturbs_names(*window)):
            self._report("queue-operation-ends", f"nothing explains that {name} got no list: {error}")

    # -- the queue

    def stored(self, frame: StoredFrame, *, is_input: bool) -> None:
        """Handle a frame that was put into the input queue, or into the sink by a worker."""
        if is_input:
            operation = self._puts.get(frame.data)
            if operation is not None:
                operation.stored.append(frame.index)
                if operation.is_once and len(operation.stored) > 1:
                    self._report("queue-put-once", f"{operation.name} is not idempotent, and is in the queue again")
        if (self.store is self.service.input.store) is is_input:
            self._frames[frame.index] = frame

    def removed(self, frame: StoredFrame) -> None:
        """Handle a frame that was deleted."""
        self._removed.add(frame.data)

    def given_back(self, group: str, indexes: Iterable[int], *, by_fault: bool = False) -> None:
        """Handle frames that wait for a consumer again; `by_fault` if their previous consumer is still connected."""
        found = list(indexes)
        self._given_back.setdefault(group, set()).update(found)
        if by_fault:
            self._redelivered.setdefault(group, {}).update(dict.fromkeys(found, self._seconds()))

    # -- watches

    def watch_began(self, watch: ObservedWatch) -> None:
        """Handle the start of a watch."""
        self._watches[watch.name] = watch

    def returned(self, watch: ObservedWatch, frame: Any) -> None:
        """Handle a frame that a watch has returned to its reader."""
        index, group = frame.index, watch.group
        self._returned_to.setdefault(group, set()).add(index)
        if index in watch.returned or index in watch.committed:
            what = "committed" if index in watch.committed else "got and not given back"
            self._report("queue-committed-is-over", f"{watch.name} returned frame {index}, which it has {what}")
        self._check_content(watch, frame)
        stored = self._frames.get(index)
        is_plain = stored is not None and not stored.priority
        if is_plain:
            if index < watch.last_index and index not in self._given_back.get(group, ()):
                says = f"returned frame {index} after {watch.last_index}, and it had never been given back"
                self._report("queue-order", f"{watch.name} {says}")
            watch.last_index = index
        if watch.auto_commit:
            watch.committed[index] = None
            return
        watch.returned[index] = None
        watch.in_hand[index] = self._seconds()
        out = [at for at, since_s in watch.in_hand.items() if self._is_out(watch, at, since_s)]
        if len(out) > watch.window:
            self._report("queue-window", f"{watch.name} has {len(out)} frames out, of {watch.window}: {out}")

    def settles(self, watch: ObservedWatch, index: int, *, is_reject: bool) -> None:
        """Handle the start of a commit or reject; from now on a rejected frame may be returned again."""
        watch.in_hand.pop(index, None)
        if is_reject:
            watch.returned.pop(index, None)

    def committed(self, watch: ObservedWatch, index: int) -> None:
        """Handle the success of a commit."""
        watch.committed[index] = None
        watch.returned.pop(index, None)
        group = self.store.groups.get(watch.group)
        if index in self.store.frames and (group is None or index not in group.committed):
            self._report(
                "queue-commit-answered",
                f"a commit of frame {index} by {watch.name} succeeded, and the queue has not committed it",
            )

    def watch_ended(self, watch: ObservedWatch, error: BaseException | None) -> None:
        """Handle the end of a watch: closed by the program, ended by the service, or failed with an error."""
        known = self._watches.pop(watch.name, None)
        if watch.is_closing or known is None:
            return
        if error is None:
            if not self.store.has_ended_for(watch.group):
                self._report("queue-end", f"{watch.name} has ended, and frames of its stream are left")
            return
        window = (watch.began_s, self._seconds())
        status = getattr(error, "status", 0)
        is_refused = bool(status) and self._attribution.may_answer(status, window)
        # A client keeps an instance that operators have removed in its list until its next poll.
        is_disturbed = self._attribution.is_disturbed(window[0] - _LISTED_S, window[1])
        if not is_refused and (status or not is_disturbed):
            self._report("queue-end", f"nothing explains that {watch.name} ended as {type(error).__name__}: {error}")

    def left(self, watch: ObservedWatch) -> None:
        """Handle the end of a watch whose process was killed."""
        self._watches.pop(watch.name, None)

    # -- the end

    def unsettled(self, groups: Mapping[str, Collection[tuple[str, str]]]) -> list[str]:
        """Describe the frames of successful puts that a group has not received.

        Args:
            groups: The tags of each group, by its name; a group must get every frame that has all of its tags.
        """
        missing = []
        there = {frame.data: frame for frame in self._frames.values()}
        for operation in self._puts.values():
            if not operation.is_answered or operation.says in self._removed:
                continue
            frame = there.get(operation.says)
            if frame is None:
                missing.append(f"{operation.name} is in no queue")
                continue
            missing += [
                f"frame {frame.index} of {operation.name} has not come to group {group}"
                for group, tags in groups.items()
                if frame.index not in self._returned_to.get(group, ()) and frame.has(dict(tags))
            ]
        return missing

    def check_gone(self, name: str, left: Collection[object]) -> None:
        """Check that a client that has closed has left no connection and no timer."""
        if left:
            self._report("queue-closed-is-gone", f"the client of {name} has closed, and left {left}")

    def check_over(self) -> None:
        """Check that no operation is left."""
        for name in self._operations:
            self._report("queue-operation-ends", f"{name} has never ended")

    # -- internals

    def _end(self, operation: ObservedOperation) -> None:
        if self._operations.pop(operation.name, None) is None:
            self._report("queue-operation-ends", f"{operation.name} has ended twice")

    def _explains(self, tried: ObservedAttempt, operation: ObservedOperation, window: tuple[float, float]) -> bool:
        is_gone = bool(operation.index) and operation.index not in self.store.frames
        if tried.attempt_status == STATUS and tried.status == _NOT_FOUND and is_gone:
            return True
        if tried.attempt_status == STATUS and operation.says:
            if tried.status == _FULL and self.is_short:
                return True
            if tried.status == _ENDED and self.is_ended:
                return True
        return self._attribution.explain(tried.address, tried.attempt_status, tried.status, _CLIENT, window)

    def _check_content(self, watch: ObservedWatch, frame: Any) -> None:
        stored = self._frames.get(frame.index)
        if stored is None:
            self._report("queue-frame-content", f"{watch.name} returned frame {frame.index}, which was never put")
            return
        data = b"" if watch.index_only else stored.data
        if frame.data != data or dict(frame.tags) != dict(stored.tags):
            says = f"returned frame {frame.index} with {len(frame.data)} bytes and tags {dict(frame.tags)}"
            self._report("queue-frame-content", f"{watch.name} {says}, of {len(data)} and {dict(stored.tags)}")

    def got(self, operation: ObservedOperation, frames: Iterable[Any]) -> None:
        """Handle the frames that a get has returned."""
        self.succeeded(operation)
        for frame in frames:
            stored = self._frames.get(frame.index)
            if stored is None or (frame.data, dict(frame.tags)) != (stored.data, dict(stored.tags)):
                self._report("queue-frame-content", f"{operation.name} returned frame {frame.index} with other content")

    def _is_out(self, watch: ObservedWatch, index: int, since_s: float) -> bool:
        """Whether a frame in hand counts in the window of a watch."""
        group = self.store.groups.get(watch.group)
        is_settled = index not in self.store.frames or (group is not None and index in group.committed)
        # A frame no longer counts if the service has made it available to others while this consumer was connected,
        # even if that was before a slow connection delivered the frame.
        was_redelivered = self._redelivered.get(watch.group, {}).get(index, -1.0) >= watch.began_s
        return not (is_settled or was_redelivered) and self._seconds() - since_s < _STALE_S
