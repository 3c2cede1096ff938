"""`WatchedQueue`, the interface of a watcher to its queue: connections, commits, and the list of open watchers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import fail

from eas_tw.errors import ConfigError
from eas_tw.queue.frames import LAST_ENTRY, number_of
from eas_tw.queue.wire import commit_request, reject_request, watch_request
from eas_tw.telemetry.contained import pass_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from eas_tw.queue.connections import WatchConnection, WatchOwner
    from eas_tw.queue.context import QueueContext
    from eas_tw.queue.watcher import Watcher
    from eas_tw.response import Response

_STATE, _NORMAL = "meta.state", "Normal"


class WatchedQueue:
    """The operations of a queue that a watcher needs.

    Args:
        context: The client's context.
        suffix: The path relative to the queue's path, such as `/sink`; empty for the input queue.
        name: The queue's name, for messages.
        window: The window of the watch.
        tags: The tags that frames must have.
        index_only: Whether frames are sent without data.
        auto_commit: Whether the service commits the frames that it sends.

    Attributes:
        reactor: The reactor, for timers.
        record: The record, which counts the client's operations.
        name: The queue's name, for messages.
        open_within_s: The time within which a watch must be open, in seconds (the client's `timeout_s`).
        suffix: The path relative to the queue's path.
    """

    def __init__(
        self,
        context: QueueContext,
        suffix: str,
        name: str,
        *,
        window: int,
        tags: Mapping[str, str],
        index_only: bool,
        auto_commit: bool,
    ) -> None:
        self.reactor = context.reactor
        self.record = context.record
        self.name = name
        self.open_within_s = context.config.timeout_s
        self._context = context
        self.suffix = suffix
        self._options: dict[str, Any] = {
            "window": window,
            "tags": tags,
            "index_only": index_only,
            "auto_commit": auto_commit,
        }
        self._websockets = context.websocket_connector()
        self._streams = context.http_connector()

    def prepare(self) -> Deferred[Any]:
        """Request the names of the identity headers if they are unknown; the Deferred fails only with `ConfigError`."""
        return self._asked(self._context.learn_header_names).addErrback(_failed)

    def connect(self, index: int, owner: WatchOwner) -> WatchConnection:
        """Start a connection that watches from an index on.

        Raises:
            ConfigError: The function given as token fails.
        """
        request = watch_request(index, **self._options)
        try:
            if self._context.config.queue_watch == "http":
                return self._streams.connect(self._context.wire_request(request, self.suffix), owner)
            return self._websockets.connect(self._context.rendered(request, self.suffix), owner)
        except ConfigError:
            raise
        except BaseException as error:
            raise self._exited(error) from error

    def has_ended(self) -> Deferred[bool]:
        """Request the queue's attributes, and check whether they state the end of the stream.

        Returns:
            A Deferred that fires with the answer; `False` if the request fails. The Deferred fails only with
            `ConfigError`.
        """

        def is_over(attributes: dict[str, str] | None) -> bool:
            return attributes is not None and attributes.get(_STATE, _NORMAL) != _NORMAL

        return self._asked(self._context.attributes).addErrback(_failed).addCallback(is_over)

    def last_index(self) -> Deferred[int | None]:
        """Request the index of the newest frame.

        Returns:
            A Deferred that fires with the index, 0 for an empty queue; `None` if the index cannot be read. The Deferred
            fails only with `ConfigError`.
        """

        def last(attributes: dict[str, str]) -> int:
            return number_of(attributes.get(LAST_ENTRY, "").encode(), LAST_ENTRY)

        return self._asked(self._context.attributes).addCallback(last).addErrback(_failed)

    def commit(self, indexes: tuple[int, ...]) -> Deferred[Any]:
        """Commit frames with one request, and count them in the telemetry if it succeeds."""
        return self._context.call(commit_request(indexes), self.suffix).addCallback(self._committed, indexes)

    def not_committed(self, indexes: tuple[int, ...], error: BaseException | None) -> None:
        """Record that frames could not be committed."""
        self.record.frames_committed(indexes, type(error).__name__)

    def reject(self, indexes: tuple[int, ...], code: str, reason: str) -> Deferred[Any]:
        """Reject frames with one request; see `Watcher.reject` for the arguments."""
        return self._context.call(reject_request(indexes, code, reason), self.suffix)

    def opened(self, watcher: Watcher) -> None:
        """Register an open watcher, so that it is closed with the client."""
        self._context.watchers[watcher] = None

    def closed(self, watcher: Watcher) -> None:
        """Remove a closed watcher from the client's list."""
        self._context.watchers.pop(watcher, None)

    def _asked(self, ask: Callable[[str], Deferred[Any]]) -> Deferred[Any]:
        """Call a method of the context, which asks the service something about this queue for the watch."""
        try:
            return ask(self.suffix)
        except BaseException as error:  # noqa: BLE001  the function given as token ends the program
            return fail(self._exited(error))

    def _exited(self, error: BaseException) -> ConfigError:
        """Return the error of a watch whose token function ends the program, and raise its exception in a later turn.

        The watch must end, because Twisted's own reactors log `SystemExit`, and continue.
        """
        pass_on(self.reactor.callLater, error)
        return ConfigError(f"the function given as token raised {type(error).__name__}")

    def _committed(self, response: Response, indexes: tuple[int, ...]) -> Response:
        self.record.frames_committed(indexes)
        return response


def _failed(failure: Failure) -> None:
    """Ignore that a request has failed, unless the function given as token has failed (`ConfigError`)."""
    if failure.check(ConfigError):
        failure.raiseException()
