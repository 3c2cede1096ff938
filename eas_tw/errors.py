"""Every exception of eas_tw, on one screen.

The split is by whose fault it is: yours before anything was sent (`ConfigError`, `BodyError` on encoding),
the control plane's (`DiscoveryError`, `NoInstances`), or the fleet's (`RequestFailed` and everything under it,
each with the attempts that were made).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eas_tw.policy.outcomes import AttemptResult


class EasError(Exception):
    """Root of everything eas_tw raises or fails a Deferred with.

    Errors can be pickled and copied, so they pass between processes; two are equal if they are of one class and say
    the same of the same attempts.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.args == other.args and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), str(self)))

    def __reduce__(self) -> tuple[Callable[..., EasError], tuple[Any, ...], dict[str, Any]]:
        # Python's own way calls the class with `args` only, which fails where a keyword is required; a process pool
        # is broken by that, and multiprocessing waits for ever.
        return _remade, (type(self), self.args), vars(self).copy()


class ConfigError(EasError, ValueError):
    """A setting or an argument is wrong; the text says which, what it was, and what it may be."""


class BodyError(EasError, ValueError):
    """A request that cannot be encoded, or a response that cannot be parsed."""


class ClientClosed(EasError):
    """The client was used after, or was still busy at, its `close`."""


class DiscoveryError(EasError):
    """`init` ended without one good list of instances; the text says what the control plane answered."""


class NoInstances(EasError):
    """There is no instance to send to: `init` has not finished, or the endpoint type has none."""


class RequestFailed(EasError):
    """A call that was tried and failed.

    Attributes:
        attempts: One `AttemptResult` (instance, outcome, elapsed_s) for each try, in order; empty when the call never
            reached an instance.
    """

    def __init__(self, message: str, attempts: tuple[AttemptResult, ...] = ()) -> None:
        super().__init__(message)
        self.attempts = attempts


class DeadlineExceeded(RequestFailed, TimeoutError):
    """The call's one deadline passed: waiting for a connection, connecting, sending and waiting all count."""


class ConnectionFailed(RequestFailed, ConnectionError):
    """The last attempt ended without a whole response: refused, timed out, reset or closed early."""


class LocalResourceError(RequestFailed):
    """No connection could be opened for want of something here: file descriptors, ports, memory or a route.

    The text says of what. The instances are not to blame, so none is left out for it; the call was tried again, with
    pauses, until its deadline was near.
    """


class ProtocolViolation(RequestFailed):
    """An instance answered with something that is not the HTTP/1.1 this client accepts, or too much of it."""


class Overloaded(RequestFailed):
    """This process already has as many calls in line for each instance as `max_waiting` says; nothing was sent."""


class StreamBroken(RequestFailed, ConnectionError):
    """A stream ended before its body did, after its head had been handed to the caller; it is never sent again.

    Attributes:
        received_bytes: Of the body, until then.
    """

    def __init__(self, message: str, attempts: tuple[AttemptResult, ...] = (), *, received_bytes: int = 0) -> None:
        super().__init__(message, attempts)
        self.received_bytes = received_bytes


class StatusError(RequestFailed):
    """The instance answered with a status that is no success: not from 200 to 299.

    Attributes:
        status: The HTTP status, such as 400.
        body: The response's bytes; a processor's exception text is here. Decompressed if they came with a
            Content-Encoding and are 256 KiB at most then; as they came otherwise.
        headers: The response's headers as they came, names in lower case.
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
    """An unpickled error, without its attributes."""
    error = kind.__new__(kind)
    error.args = args
    return error
