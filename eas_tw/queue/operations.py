"""The operations of a queue, as methods of `QueueClient` and `SinkQueue` that return Deferreds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed

from eas_tw.errors import BodyError, StatusError
from eas_tw.net.call_errors import awaitable_error
from eas_tw.queue import wire
from eas_tw.queue.frames import LAST_ENTRY, PutResult, frames_of, number_of, search_result_of
from eas_tw.queue.watched_queue import WatchedQueue
from eas_tw.queue.watcher import Watcher
from eas_tw.queue.watching import Watching
from eas_tw.response import as_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from eas_tw.queue.context import QueueContext
    from eas_tw.queue.frames import Frame, SearchResult
    from eas_tw.response import Response

    Frames = int | Frame | Iterable[int | Frame]

T = TypeVar("T")

_NO_TAGS: Mapping[str, str] = {}
_HINTS = {
    401: "the token is not accepted",
    403: "the token is not accepted",
    404: "there is no such queue or frame",
    410: "the stream has ended",
    413: "the data is larger than the queue takes (meta.maxPayloadBytes of its attributes)",
    429: "the queue is full, or takes no more requests now",
}


class QueueOperations(ABC):
    """The operations of one queue.

    The argument `timeout_s` is the time until the deadline in seconds; `None` for the client's `timeout_s`. (In `get`,
    it is the time for which the service waits for a frame.) The Deferred of an operation fails with

    1. `ConfigError` for a wrong argument, or if the function given as token fails;
    2. `StatusError` if the service rejects the operation, such as 401 for a wrong token or 429 for a full queue;
    3. another `RequestFailed` if no instance has answered;
    4. `BodyError` if the response cannot be parsed.
    """

    _suffix = ""

    def put(
        self,
        data: Any,
        *,
        tags: Mapping[str, str] = _NO_TAGS,
        priority: int = 0,
        path: str = "",
        idempotent: bool = False,
        timeout_s: float | None = None,
    ) -> Deferred[PutResult]:
        """Put a frame into the queue.

        Args:
            data: Bytes, any buffer, text (sent as UTF-8), or a dict or list (sent as JSON).
            tags: The frame's tags. Names must not begin with `_`.
            priority: 0 for the normal priority; a greater number for a higher priority.
            path: A path relative to the queue's path, percent-encoded, for the service behind the queue; empty for
                none.
            idempotent: Whether the put may be repeated if it may already have reached the service; then the frame may
                be in the queue twice. If `False`, the put is repeated only if it has certainly not reached the service.
            timeout_s: Seconds until the deadline; `None` for the client's `timeout_s`.

        Returns:
            A Deferred that fires with the frame's index and request id.
        """

        def operate(context: QueueContext) -> Deferred[PutResult]:
            content, _ = as_plain(data)
            request = wire.put_request(content, tags, priority, path)
            calling = context.call(request, self._suffix, timeout_s=timeout_s, is_idempotent=idempotent)
            return calling.addCallback(_put_result)

        return self._run("put into", operate)

    def get(
        self,
        *,
        index: int = 0,
        length: int = 1,
        timeout_s: float = 5.0,
        tags: Mapping[str, str] = _NO_TAGS,
        request_id: str | None = None,
        auto_delete: bool = True,
    ) -> Deferred[list[Frame]]:
        """Get frames.

        Args:
            index: The index of the first frame; 0 for the head of the queue, -1 for its newest frame.
            length: The maximum number of frames, ≥ 1.
            timeout_s: The time for which the service waits for a frame, in seconds, ≥ 0. The deadline is this time plus
                the client's `timeout_s`.
            tags: The tags that the frames must have.
            request_id: The request id that the frame must have; `None` for any.
            auto_delete: Whether the service deletes the frames that it sends. Such a get is not repeated if it may have
                reached the service, because the frames of a lost response are no longer in the queue.

        Returns:
            A Deferred that fires with a list of frames, which may be empty.
        """

        def operate(context: QueueContext) -> Deferred[list[Frame]]:
            request = wire.get_request(index, length, timeout_s, tags, request_id, auto_delete=auto_delete)
            calling = context.call(request, self._suffix, is_idempotent=not auto_delete, hold_s=timeout_s)
            return calling.addCallback(received)

        def received(response: Response) -> list[Frame]:
            frames = _frames(response)
            if auto_delete:
                self._tell_watchers(Watcher.was_committed, [frame.index for frame in frames])
            return frames

        return self._run("get from", operate)

    def watch(
        self,
        *,
        index: int = 0,
        window: int = 32,
        index_only: bool = False,
        auto_commit: bool = False,
        tags: Mapping[str, str] = _NO_TAGS,
    ) -> Watcher:
        """Watch the queue: the service sends its frames as they appear.

        Args:
            index: The index of the first frame; 0 for the head of the queue, -1 for its newest frame.
            window: The maximum number of frames that were sent and are neither committed nor rejected, ≥ 1.
            index_only: Whether frames are sent without data.
            auto_commit: Whether the service commits each frame as soon as it has sent the frame. Then frames that are
                lost with a connection are not sent again.
            tags: The tags that frames must have; all consumers of a group must use the same tags.

        Returns:
            The watcher, an async context manager and iterator.

        Raises:
            ConfigError: An argument is wrong.
            ClientClosed: The client is closed.
            NoInstances: `init` has not been called.
        """
        context = self._context_for("watch")
        wire.watch_request(index, window, tags, index_only=index_only, auto_commit=auto_commit)  # checks the arguments
        queue = WatchedQueue(
            context,
            self._suffix,
            self.queue_name,
            window=window,
            tags=dict(tags),
            index_only=index_only,
            auto_commit=auto_commit,
        )
        watching = Watching(
            index,
            window,
            auto_commit=auto_commit,
            buffer_bytes=context.config.stream_buffer_bytes,
            rng=context.rng,
        )
        return Watcher(queue, watching)

    def attributes(self, *, timeout_s: float | None = None) -> Deferred[dict[str, str]]:
        """Return the queue's attributes, such as `stream.length`."""
        return self._run("attributes of", lambda context: context.attributes(self._suffix, timeout_s))

    def search(self, index: int, *, timeout_s: float | None = None) -> Deferred[SearchResult]:
        """Return the position in the queue of the frame whose index is `index`."""

        def operate(context: QueueContext) -> Deferred[SearchResult]:
            calling = context.call(wire.search_request(index), self._suffix, timeout_s=timeout_s)
            return calling.addCallback(lambda response: search_result_of(response.content))

        return self._run("search in", operate)

    def count(
        self, *, priority: int | None = None, tags: Mapping[str, str] = _NO_TAGS, timeout_s: float | None = None
    ) -> Deferred[int]:
        """Return the number of frames that have all the given properties.

        Args:
            priority: The priority that the frames must have, ≥ 0; `None` for any.
            tags: The tags that the frames must have.
            timeout_s: Seconds until the deadline; `None` for the client's `timeout_s`.
        """

        def operate(context: QueueContext) -> Deferred[int]:
            calling = context.call(wire.count_request(priority, tags), self._suffix, timeout_s=timeout_s)
            return calling.addCallback(lambda response: number_of(response.content, "the count"))

        return self._run("count of", operate)

    def delete(self, indexes: Frames, *, timeout_s: float | None = None) -> Deferred[None]:
        """Delete frames for all groups; `indexes` are indexes or `Frame` objects."""
        return self._change("delete in", wire.delete_request, indexes, timeout_s, Watcher.was_committed)

    def truncate(self, index: int, *, timeout_s: float | None = None) -> Deferred[None]:
        """Delete every frame whose index is less than `index`."""
        return self._run("truncate of", lambda context: self._truncate(context, index, timeout_s))

    def commit(self, indexes: Frames, *, timeout_s: float | None = None) -> Deferred[None]:
        """Commit frames for the client's group. `Watcher.commit` is more efficient, because it batches commits."""
        return self._change("commit in", wire.commit_request, indexes, timeout_s, Watcher.was_committed)

    def reject(
        self, indexes: Frames, code: str = "Rejected", reason: str = "", *, timeout_s: float | None = None
    ) -> Deferred[None]:
        """Reject frames: the service sends them to another consumer of the group. See `Watcher.reject`."""
        return self._change(
            "reject in",
            lambda found: wire.reject_request(found, code, reason),
            indexes,
            timeout_s,
            Watcher.was_rejected,
            begins=Watcher.is_rejecting,
        )

    def end(self, *, force: bool = False, timeout_s: float | None = None) -> Deferred[None]:
        """End the stream, so that no frame can be put any more.

        Args:
            force: Whether to end the stream even if frames are not committed.
            timeout_s: Seconds until the deadline; `None` for the client's `timeout_s`.
        """
        return self._do("end of", lambda: wire.end_request(force=force), timeout_s)

    def clear(self, *, timeout_s: float | None = None) -> Deferred[None]:
        """Delete all frames that are in the queue now."""

        def operate(context: QueueContext) -> Deferred[None]:
            return context.attributes(self._suffix, timeout_s).addCallback(truncate, context)

        def truncate(attributes: dict[str, str], context: QueueContext) -> Deferred[None]:
            last = number_of(attributes.get(LAST_ENTRY, "").encode(), f"the attribute {LAST_ENTRY}")
            return self._truncate(context, last + 1, timeout_s)

        return self._run("clear of", operate)

    @property
    @abstractmethod
    def queue_name(self) -> str:
        """The name of the queue, such as `qservice/sink`."""

    # -- internals

    @abstractmethod
    def _watchers(self) -> list[Watcher]:
        """Return the open watchers of the client."""

    @abstractmethod
    def _context_for(self, what: str) -> QueueContext:
        """Return the client's context; raise an error if the client cannot be used."""

    def _truncate(self, context: QueueContext, index: int, timeout_s: float | None) -> Deferred[None]:
        """Delete every frame whose index is less than `index`, and notify the watchers of this queue."""
        calling = context.call(wire.truncate_request(index), self._suffix, timeout_s=timeout_s)
        return calling.addCallback(lambda _: self._tell_watchers(Watcher.was_truncated, index))

    def _change(
        self,
        what: str,
        make: Callable[[tuple[int, ...]], wire.QueueRequest],
        indexes: Frames,
        timeout_s: float | None,
        tell: Callable[[Watcher, tuple[int, ...]], None],
        *,
        begins: Callable[[Watcher, tuple[int, ...]], None] | None = None,
    ) -> Deferred[None]:
        """Send a request that changes frames, and notify the watchers of this queue.

        Args:
            what: The operation, for error messages.
            make: A function that makes the request from the indexes.
            indexes: The frames, as indexes or frames.
            timeout_s: Seconds until the deadline; `None` for the client's `timeout_s`.
            tell: A method of `Watcher` that is called after the request has succeeded.
            begins: A method of `Watcher` that is called when the request is sent; `None` for none.
        """

        def operate(context: QueueContext) -> Deferred[None]:
            found = wire.as_indexes(indexes)
            if not found:
                return succeed(None)
            calling = context.call(make(found), self._suffix, timeout_s=timeout_s)
            if begins is not None and not calling.called:  # a call that has ended by now was not sent
                self._tell_watchers(begins, found)
            return calling.addCallback(lambda _: self._tell_watchers(tell, found))

        return self._run(what, operate)

    def _tell_watchers(self, tell: Callable[[Watcher, Any], None], what: Any) -> None:
        for watcher in self._watchers():
            if watcher.suffix == self._suffix:
                tell(watcher, what)

    def _do(self, what: str, make: Callable[[], wire.QueueRequest], timeout_s: float | None) -> Deferred[None]:
        return self._run(
            what, lambda context: context.call(make(), self._suffix, timeout_s=timeout_s).addCallback(_nothing)
        )

    def _run(self, what: str, operate: Callable[[QueueContext], Deferred[T]]) -> Deferred[T]:
        """Run an operation; every exception except `SystemExit` and `KeyboardInterrupt` fails the returned Deferred."""
        try:
            running = operate(self._context_for(what.partition(" ")[0]))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  the caller expects every error in the Deferred
            return fail(awaitable_error(error, "the data"))
        return running.addErrback(self._explain, what)

    def _explain(self, failure: Any, what: str) -> Any:
        """Add the operation, the queue and the meaning of the status to the text of a `StatusError`."""
        error = failure.value
        if type(error) is StatusError:
            hint = _HINTS.get(error.status)
            said = " ".join(str(error).split())
            error.args = (f"{what} {self.queue_name}: {hint + ': ' if hint else ''}{said}",)
        return failure


def _put_result(response: Response) -> PutResult:
    try:
        index = number_of(response.content, "the index of the put")
    except BodyError as error:
        raise BodyError(f"the put was accepted, but {error}; is the service a queue service?") from error
    return PutResult(index, response.headers.get(wire.REQUEST_ID_HEADER, ""))


def _frames(response: Response) -> list[Frame]:
    return frames_of(response.headers.get("content-type", ""), response.content)


def _nothing(_: object) -> None: ...
