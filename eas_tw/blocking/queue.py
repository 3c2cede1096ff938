"""`QueueClient` for threads, with the names, arguments and results of the official Python SDK's client.

A program written for the official SDK runs after changing its import line:

    from eas_tw.blocking import QueueClient

The official SDK does not have `sink`, `count`, `reject`, `end`, `clear` or the keyword `timeout_s`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import frozen

import eas_tw
from eas_tw import ConfigError, EasError
from eas_tw.blocking.client import PredictClient
from eas_tw.blocking.errors import as_predict_exception
from eas_tw.display import shown
from eas_tw.process_bound import ProcessBound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from twisted.internet.defer import Deferred

    from eas_tw import Frame, Instance, SearchResult
    from eas_tw.blocking.loop import Run
    from eas_tw.secret import TokenSource

    Frames = int | Frame | Iterable[int | Frame]

T = TypeVar("T")

_MOST_READY = 64
"""The maximum number of frames that a thread fetches together; a switch of threads takes as long as ten frames."""
_NO_TAGS: Mapping[str, str] = {}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|h|m|s))")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@frozen
class PutResult(eas_tw.PutResult):
    """The result of a put; as in the official SDK, it is also a pair of the index, as text, and the request id."""

    def __iter__(self) -> Iterator[str]:
        return iter((str(self.index), self.request_id))

    def __getitem__(self, at: int) -> str:
        return (str(self.index), self.request_id)[at]

    def __len__(self) -> int:
        return 2


class Watcher(ProcessBound):
    """Reads the frames of a queue as they arrive; see `eas_tw.Watcher`.

        with queue.watch(0, 32) as watcher:
            for frame in watcher:
                ...
                watcher.commit(frame)

    `run()` and `close()` have these names in the official SDK as well. Another thread may call `close`.

    Args:
        watcher: The inner watcher.
        run: A function that runs its argument in the reactor's thread, and waits for the Deferred that it returns.
    """

    def __init__(self, watcher: eas_tw.Watcher, run: Run) -> None:
        self._watcher = watcher
        self._run = run
        self._is_open = self._is_closed = False
        self._ready: deque[Frame] = deque()

    def __repr__(self) -> str:
        return f"<blocking {self._watcher!r}>"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self.run()

    @property
    def instance(self) -> Instance | None:
        """The instance, or the gateway, that sends the frames; `None` while there is no connection."""
        return self._watcher.instance

    def open(self) -> None:
        """Open the watch, and wait until the service has accepted it; `run` calls this method."""
        if not self._is_open:
            self._is_open = True
            self._call(self._watcher.open, eas_tw.Watcher.close)

    def run(self) -> Iterator[Frame]:
        """Iterate over the frames, until the watcher is closed or the service ends the stream."""
        self.open()
        while bool(self._ready) or self._call(self._fetch):
            try:
                frame = self._ready.popleft()
            except IndexError:  # another thread has closed the watcher, or taken the frame
                continue
            yield frame

    def commit(self, frames: Frames) -> None:
        """Commit frames; commits that are made while a commit request is in flight are sent together."""
        self._call(lambda: self._watcher.commit(frames))

    def reject(self, frames: Frames, code: str = "Rejected", reason: str = "") -> None:
        """Reject frames, which the queue then sends to another consumer of the group; see `eas_tw.Watcher.reject`."""
        self._call(lambda: self._watcher.reject(frames, code, reason))

    def close(self) -> None:
        """Stop watching: wait for the pending commits, then close the connection (a WebSocket with code 1000)."""
        self._is_open = self._is_closed = True
        self._ready.clear()  # the service sends these frames to another consumer
        self._call(self._watcher.close)

    def _fetch(self) -> Deferred[bool]:
        """Wait for the next frame, in the reactor's thread, and store up to `_MOST_READY` frames that have arrived.

        The frames are stored in `_ready` and not returned, so that no frame is lost if the waiting thread gets a
        `KeyboardInterrupt`.

        Returns:
            A Deferred that fires with `True` if there are frames, and with `False` at the end.
        """

        def took(frame: Frame | None) -> bool:
            while frame is not None and not self._is_closed:
                self._ready.append(frame)
                frame = self._watcher.ready_frame() if len(self._ready) < _MOST_READY else None
            return bool(self._ready)

        return self._watcher.next_frame().addCallback(took)

    def _call(self, work: Callable[[], Deferred[T]], undo: Callable[[T], object] | None = None) -> T:
        try:
            result: T = self._run(work, undo)
        except EasError as error:
            raise as_predict_exception(error) from error
        return result


class _Operations(ABC):
    """The operations of one queue, which raise `PredictException` if they fail."""

    def put(self, data: Any, tags: Mapping[str, str] = _NO_TAGS, **options: Any) -> PutResult:
        """Put a frame into the queue.

        Args:
            data: Bytes, any buffer, text, or a dict or list (sent as JSON).
            tags: The frame's tags.
            options: `priority`, `path`, `idempotent` and `timeout_s` of `eas_tw.QueueClient.put`.
        """
        result = self._operate(lambda queue: queue.put(data, tags=tags, **options))
        return PutResult(result.index, result.request_id)

    def get(
        self,
        request_id: str | None = None,
        index: int = 0,
        length: int = 1,
        timeout: str | float = "5s",
        auto_delete: bool = True,  # noqa: FBT001, FBT002  the official SDK's signature
        tags: Mapping[str, str] = _NO_TAGS,
        *,
        timeout_s: float | None = None,
    ) -> list[Frame]:
        """Get frames; see `eas_tw.QueueClient.get`.

        Args:
            request_id: The request id of the frame to get; `None` for any frame.
            index: The index of the first frame; 0 for the head of the queue, -1 for its newest frame.
            length: The maximum number of frames, ≥ 1.
            timeout: The maximum time that the service waits for a frame: a duration such as `"5s"` or `"1m30s"`, or a
                number of seconds, ≥ 0.
            auto_delete: Whether the service deletes the frames that it sends.
            tags: The tags that the frames must have; empty for any frame.
            timeout_s: The maximum time that the service waits for a frame, in seconds, ≥ 0; `None` to use `timeout`.
        """
        frames: list[Frame] = self._operate(
            lambda queue: queue.get(
                request_id=request_id,
                index=index,
                length=length,
                timeout_s=seconds_of(timeout) if timeout_s is None else timeout_s,
                auto_delete=auto_delete,
                tags=tags,
            )
        )
        return frames

    def watch(  # the official SDK's arguments
        self,
        index: int = 0,
        window: int = 32,
        index_only: bool = False,  # noqa: FBT001, FBT002  the official SDK's signature
        auto_commit: bool = False,  # noqa: FBT001, FBT002
        tags: Mapping[str, str] | None = None,
    ) -> Watcher:
        """Return a watcher, to which the service sends the frames of the queue as they appear.

        The arguments are those of `eas_tw.QueueClient.watch`.
        """
        options = {"index": index, "window": window, "index_only": index_only, "auto_commit": auto_commit}
        try:
            queue = self._queue()
            watcher = self._runner()(lambda: _made(queue, options, _NO_TAGS if tags is None else tags))
        except EasError as error:
            raise as_predict_exception(error) from error
        return Watcher(watcher, self._runner())

    def attributes(self, **options: Any) -> dict[str, str]:
        """Return the queue's attributes."""
        attributes: dict[str, str] = self._operate(lambda queue: queue.attributes(**options))
        return attributes

    def search(self, index: int, **options: Any) -> SearchResult:
        """Return the position of a frame in the queue, as a mapping with `IsPending` and `WaitCount`."""
        result: SearchResult = self._operate(lambda queue: queue.search(index, **options))
        return result

    def count(self, **options: Any) -> int:
        """Return the number of frames in the queue, or of those with the given `priority` and `tags`."""
        count: int = self._operate(lambda queue: queue.count(**options))
        return count

    def delete(self, index: Frames, **options: Any) -> str:
        """Delete frames for all groups; return `"OK"`."""
        self._operate(lambda queue: queue.delete(index, **options))
        return "OK"

    def truncate(self, index: int, **options: Any) -> bytes:
        """Delete every frame whose index is less than `index`; return `b"OK"`."""
        self._operate(lambda queue: queue.truncate(index, **options))
        return b"OK"

    def commit(self, index: Frames, **options: Any) -> bytes:
        """Commit frames for the client's group; return `b"OK"`."""
        self._operate(lambda queue: queue.commit(index, **options))
        return b"OK"

    def reject(self, index: Frames, code: str = "Rejected", reason: str = "", **options: Any) -> None:
        """Reject frames, which the queue then sends to another consumer of the group."""
        self._operate(lambda queue: queue.reject(index, code, reason, **options))

    def end(self, **options: Any) -> None:
        """End the queue's stream, after which no frame can be put; see `eas_tw.QueueClient.end`."""
        self._operate(lambda queue: queue.end(**options))

    def clear(self, **options: Any) -> None:
        """Delete all frames that are in the queue now."""
        self._operate(lambda queue: queue.clear(**options))

    def _operate(self, operate: Callable[[Any], Deferred[Any]]) -> Any:
        try:
            queue = self._queue()
            return self._runner()(lambda: operate(queue))
        except EasError as error:
            raise as_predict_exception(error) from error

    @abstractmethod
    def _queue(self) -> Any:
        """Return the inner queue, after initialising its client if necessary."""

    @abstractmethod
    def _runner(self) -> Run:
        """Return the function that runs a given function in the reactor's thread."""


class QueueClient(_Operations, PredictClient):
    """A client of one queue service whose methods block; it can be used by several threads at the same time.

    Args:
        endpoint: The endpoint, as for `eas_tw.QueueClient`.
        service_name: The queue's name; `service/sink` for an output queue.
        custom_url: The complete URL of the queue, instead of endpoint and name.
        token: The service's token, or a function that returns it, as for `eas_tw.QueueClient`; empty for none. The
            function is called in the reactor's thread.
        user: The id of this consumer; `None` for a random id.
        group: The group of this consumer.
        options: The other keyword arguments of `eas_tw.blocking.PredictClient`, such as `config`.

    Raises:
        PredictException: An argument is wrong. The methods raise no other exception, unless stated otherwise.
    """

    _client_class = eas_tw.QueueClient

    def __init__(
        self,
        endpoint: str = "",
        service_name: str = "",
        custom_url: str = "",
        *,
        token: TokenSource = "",
        user: str | None = None,
        group: str = "eas",
        **options: Any,
    ) -> None:
        super().__init__(endpoint, service_name, custom_url, token=token, user=user, group=group, **options)

    def init(self, uid: str | None = None, gid: str | None = None, custom_url: str = "", path_suffix: str = "") -> None:
        """Start discovery without waiting.

        Args:
            uid: The id of this consumer; `None` for the constructor's `user`.
            gid: The group of this consumer; `None` for the constructor's `group`.
            custom_url: The complete URL of the queue; empty for the constructor's `custom_url`.
            path_suffix: A path relative to the queue's path, such as `sink`; empty for none.

        Raises:
            PredictException: The endpoint or the queue is missing or wrong.
        """
        if uid is not None or gid is not None:
            user, group = self._arguments["user"], self._arguments["group"]
            self._apply("set_identity", user if uid is None else uid, group if gid is None else gid)
        if custom_url:
            suffix = f"/{path_suffix.strip('/')}" if path_suffix else ""
            self._apply("set_custom_url", custom_url.rstrip("/") + suffix)
        elif path_suffix:
            self._apply("set_service_name", f"{self.service_name}/{path_suffix.strip('/')}")
        super().init()

    def sink(self) -> SinkQueue:
        """Return the output queue of the same service, which uses this client's connections until the client closes."""
        return SinkQueue(self)

    def set_logger(self, logger: Any = None) -> None:
        """Do nothing: the client logs to the logger `eas_tw` of the module `logging`."""

    def _queue(self) -> Any:
        return self._ready_client()

    def _runner(self) -> Run:
        return self._loop.run


class SinkQueue(ProcessBound, _Operations):
    """The output queue of a queue service, with the operations of `QueueClient`.

    Args:
        client: The client of the input queue; closing it also closes the sink.
    """

    def __init__(self, client: QueueClient) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<SinkQueue of {self._client!r}>"

    def _queue(self) -> Any:
        return self._client._queue().sink()  # noqa: SLF001  the client of this module

    def _runner(self) -> Run:
        return self._client._runner()  # noqa: SLF001


def seconds_of(duration: str | float) -> float:
    """Return a duration in seconds.

    Args:
        duration: A duration in the service's format, such as `5s`, `500ms` or `1m30s`; or a number of seconds.

    Raises:
        ConfigError: `duration` is neither a duration in this format nor a number.
    """
    if isinstance(duration, int | float):
        return duration
    parts = _DURATION.findall(duration) if isinstance(duration, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ConfigError(f'timeout must look like "5s" or "1m30s", or be a number of seconds, got {shown(duration)}')
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _made(queue: Any, options: dict[str, Any], tags: Mapping[str, str]) -> Deferred[eas_tw.Watcher]:
    from twisted.internet.defer import succeed  # noqa: PLC0415

    return succeed(queue.watch(**options, tags=tags))
