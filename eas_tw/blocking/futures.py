"""`CallFuture`, the future of a call that `PredictClient.submit` starts without waiting."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred, succeed

from eas_tw import EasError
from eas_tw.blocking.errors import as_predict_exception

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure


class CallFuture(Future[Any]):
    """The future of a call (`eas_tw.blocking.PredictClient.submit`).

    Args:
        work: A function that makes the call in the reactor's thread. Its Deferred fires with the response's body.
        parse: A function that converts the body to the result.
        reactor: The reactor.
    """

    def __init__(self, work: Callable[[], Deferred[Any]], parse: Callable[[bytes], Any], reactor: Any) -> None:
        super().__init__()
        self._work = work
        self._parse = parse
        self._reactor = reactor
        self._running: Deferred[Any] | None = None

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the response, and parse it in the calling thread.

        Args:
            timeout: The maximum time in seconds; `None` for no limit except the call's deadline.

        Raises:
            PredictException: The call failed, or the response cannot be parsed.
            TimeoutError: `timeout` passed; the call continues.
            CancelledError: The future was cancelled.
        """
        try:
            return self._parse(super().result(timeout))
        except EasError as error:
            raise as_predict_exception(error) from error

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end of the call, and return its `PredictException`; `None` if the call succeeded."""
        error = super().exception(timeout)
        if not isinstance(error, EasError):
            return error
        exception = as_predict_exception(error)
        exception.__cause__ = error
        return exception

    def start(self) -> Deferred[Any]:
        """Start the call, unless the future is cancelled (implements `Job`)."""
        if not self.set_running_or_notify_cancel():
            return succeed(None)
        self._running = running = maybeDeferred(self._work)
        return running.addCallbacks(self._succeeded, self._failed)

    def abandon(self) -> None:
        """Cancel the call, even if it is running: the call fails with `CancelledError` and its connection is closed."""
        if not self.cancel():
            self._reactor.callFromThread(self._cancel)

    def give_up(self, error: Exception) -> None:
        """End the future with an error, because the reactor has stopped (implements `Job`)."""
        if not self.done():
            self.set_exception(error)

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()

    def _succeeded(self, content: Any) -> None:
        if not self.done():  # it is done if `give_up` was called before
            self.set_result(content)

    def _failed(self, failure: Failure) -> None:
        error: BaseException = failure.value  # type: ignore[assignment]  # a Failure has one
        if not self.done():
            self.set_exception(error.with_traceback(None))
