"""The exceptions of eas_tw.

They are grouped by cause: a mistake of the program before anything was sent (`ConfigError`, `BodyError` on encoding),
the control plane (`DiscoveryError`, `NoInstances`), or the instances (`RequestFailed` and its subclasses, which list
the attempts of the call).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eas_tw.policy.outcomes import AttemptResult


class EasError(Exception):
    """Base class of the exceptions that eas_tw raises, or fails a Deferred with.

    Errors can be pickled and copied. Two errors are equal if their class, arguments and attributes are equal.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.args == other.args and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), str(self)))

    def __reduce__(self) -> tuple[Callable[..., EasError], tuple[Any, ...], dict[str, Any]]:
        # The default `__reduce__` calls the class with `args` only, which fails for `StatusError`, whose `status` is a
        # required keyword. Such a failure breaks a process pool and makes multiprocessing wait forever.
        return _remade, (type(self), self.args), vars(self).copy()


class ConfigError(EasError, ValueError):
    """A setting or an argument is wrong; the message has its name, the wrong value and the allowed values."""


class BodyError(EasError, ValueError):
    """A request cannot be encoded, or a response cannot be parsed."""


class ClientClosed(EasError):
    """The client is closed, or was closed before the call ended."""


class DiscoveryError(EasError):
    """`init` received no valid list of instances; the message has the last error of the control plane."""


class NoInstances(EasError):
    """There is no instance to send a call to, because `init` has not finished or the list is empty."""


class RequestFailed(EasError):
    """A call failed.

    Attributes:
        attempts: One `AttemptResult` (instance, outcome, elapsed_s) for each attempt, in order; empty if no attempt was
            made.
    """

    def __init__(self, message: str, attempts: tuple[AttemptResult, ...] = ()) -> None:
        super().__init__(message)
        self.attempts = attempts


class DeadlineExceeded(RequestFailed, TimeoutError):
    """The call's deadline passed. The deadline covers queueing, connecting, sending and waiting."""


class ConnectionFailed(RequestFailed, ConnectionError):
    """The last attempt ended without a complete response: connection refused, timed out, reset or closed early."""


class LocalResourceError(RequestFailed):
    """No connection could be opened, because this machine lacks file descriptors, ports, memory or a route.

    The message names the resource. No instance is ejected for this error, because it is local. The call was retried
    with pauses until shortly before its deadline.
    """


class ProtocolViolation(RequestFailed):
    """A response is not valid HTTP/1.1, or is larger than `max_head_bytes` or `max_response_bytes`."""


class Overloaded(RequestFailed):
    """The queue of every instance's pool is full (`max_waiting`), or too long for the deadline; nothing was sent."""


class StreamBroken(RequestFailed, ConnectionError):
    """A stream broke after its head was passed to the caller. The request is not retried.

    Attributes:
        received_bytes: The number of bytes of the body that were received before the stream broke.
    """

    def __init__(self, message: str, attempts: tuple[AttemptResult, ...] = (), *, received_bytes: int = 0) -> None:
        super().__init__(message, attempts)
        self.received_bytes = received_bytes


class StatusError(RequestFailed):
    """The instance answered with a status outside 200 to 299.

    Attributes:
        status: The HTTP status, such as 400.
        body: The response's body, such as the text of a processor's exception. It is decompressed according to its
            Content-Encoding if the result has at most 256 KiB; otherwise it is the body as received.
        headers: The response's headers, names in lower case.
    """

    def __init__(
        self,
        message: str,
        attempts: tuple[AttemptResult, ...] = (),
        *,
        status: int,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, attempts)
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


def _remade(kind: type[EasError], args: tuple[Any, ...]) -> EasError:
    """Create an error for unpickling; `pickle` sets its attributes afterwards."""
    error = kind.__new__(kind)
    error.args = args
    return error
