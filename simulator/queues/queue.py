"""A queue with its listeners: watches, workers and waiting gets. They are notified when its store has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from simulator.queues.store import MAX_LENGTH, QueueStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from random import Random

    from simulator.queues.frames import Frame

SINK = "sink"
PAYLOAD_BYTES = 8192
"""Default of the maximum payload in bytes, as in recorded attributes (`meta.maxPayloadBytes`)."""


class QueueListener(Protocol):
    """Receives notifications of the changes of a queue."""

    def queue_changed(self) -> None:
        """Called when the queue has changed; the listener may change it, or stop listening."""

    def queue_cleared(self) -> None:
        """Called when all frames and groups of the queue have been removed."""


class Queue:
    """A queue: its store, and the listeners to its changes.

    Args:
        store: Frames and groups.
        clock: Clock for the times of consumers, and for timeouts.
    """

    def __init__(self, store: QueueStore, clock: Any) -> None:
        self.store = store
        self.clock = clock
        self._listeners: dict[QueueListener, None] = {}
        self._is_notifying = self._has_changed = False

    @property
    def now(self) -> float:
        """The present time, in seconds."""
        return float(self.clock.seconds())

    def listen(self, listener: QueueListener) -> None:
        """Notify a listener of changes, until `unlisten`."""
        self._listeners[listener] = None

    def unlisten(self, listener: QueueListener) -> None:
        """Stop notifying a listener; an unknown one is ignored."""
        self._listeners.pop(listener, None)

    def put(self, data: bytes, tags: Mapping[str, str], priority: int = 0, path: str = "") -> Frame:
        """Append a frame (`QueueStore.put`), and notify the listeners."""
        frame = self.store.put(data, tags, priority, path)
        self.changed()
        return frame

    def commit(self, group: str, indexes: Iterable[int]) -> None:
        """Commit frames for a group, and notify the listeners."""
        self.store.commit(group, indexes, self.now)
        self.changed()

    def changed(self) -> None:
        """Notify the listeners that the store has changed."""
        self._has_changed = True
        if self._is_notifying:
            return  # called by a listener: the loop of the outer call runs once more
        self._is_notifying = True
        try:
            while self._has_changed:
                self._has_changed = False
                for listener in list(self._listeners):
                    if listener in self._listeners:
                        listener.queue_changed()
                self._rotate()
        finally:
            self._is_notifying = False

    def clear(self) -> None:
        """Remove all frames and groups, and notify the listeners."""
        self.store.clear()
        for listener in list(self._listeners):
            listener.queue_cleared()

    def _rotate(self) -> None:
        """Move the first listener to the end, so that another listener is notified first next time."""
        if self._listeners:
            first = next(iter(self._listeners))
            del self._listeners[first]
            self._listeners[first] = None


class QueueService:
    """The two queues of a queue service.

    Args:
        name: Name of the service.
        clock: Clock of both queues.
        rng: Random source of request ids.
        payload_bytes: Maximum size of a payload, in bytes.
        input_length: Maximum number of frames of the input queue.
        sink_length: Maximum number of frames of the sink.
    """

    def __init__(
        self,
        name: str,
        clock: Any,
        rng: Random,
        *,
        payload_bytes: int = PAYLOAD_BYTES,
        input_length: int = MAX_LENGTH,
        sink_length: int = MAX_LENGTH,
    ) -> None:
        self.payload_bytes = payload_bytes
        make = _request_ids(rng)
        self.input = Queue(QueueStore(name, make, input_length), clock)
        self.sink = Queue(QueueStore(f"{name}/{SINK}", make, sink_length), clock)

    @property
    def queues(self) -> tuple[Queue, Queue]:
        """The input queue and the sink."""
        return self.input, self.sink

    def find(self, below: str) -> tuple[Queue, str]:
        """Find the queue of a path.

        Args:
            below: Path relative to the service's path: empty, or a path such as `/sink` or `/more/path`.

        Returns:
            The queue, and the rest of the path.
        """
        head, _, rest = below.strip("/").partition("/")
        return (self.sink, rest) if head == SINK else (self.input, below.strip("/"))

    def clear(self) -> None:
        """Remove all frames and groups."""
        for queue in self.queues:
            queue.clear()


def _request_ids(rng: Random) -> Callable[[], str]:
    def make() -> str:
        digits = f"{rng.getrandbits(128):032x}"
        return "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])

    return make
