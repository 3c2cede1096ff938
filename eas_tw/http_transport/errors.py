"""Conversion of eas_tw's errors to the exceptions of httpx2 and httpx.

Programs and packages such as `openai` use the exception's class to distinguish a timeout from a lost connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw import (
    AttemptStatus,
    BodyError,
    ClientClosed,
    ConfigError,
    ConnectionFailed,
    DeadlineExceeded,
    DiscoveryError,
    EasError,
    LocalResourceError,
    NoInstances,
    Overloaded,
    ProtocolViolation,
    RequestFailed,
    StatusError,
    StreamBroken,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eas_tw.http_transport.library import Library

NAMES: Mapping[type[EasError], str] = {
    EasError: "NetworkError",
    ConfigError: "LocalProtocolError",
    BodyError: "LocalProtocolError",
    ClientClosed: "NetworkError",
    DiscoveryError: "ConnectError",
    NoInstances: "ConnectError",
    RequestFailed: "NetworkError",
    DeadlineExceeded: "ReadTimeout",
    ConnectionFailed: "RemoteProtocolError",
    LocalResourceError: "ConnectError",
    ProtocolViolation: "RemoteProtocolError",
    Overloaded: "PoolTimeout",
    StreamBroken: "RemoteProtocolError",
    StatusError: "RemoteProtocolError",
}
"""The name of the exception of httpx2 and httpx for each class of `eas_tw.errors`.

For some errors, the status of the last attempt selects a more specific exception (`_BY_ATTEMPT`).
"""

_BY_ATTEMPT: Mapping[AttemptStatus, str] = {
    AttemptStatus.CONNECT_REFUSED: "ConnectError",
    AttemptStatus.CONNECT_FAILED: "ConnectError",
    AttemptStatus.CONNECT_TIMEOUT: "ConnectTimeout",
    AttemptStatus.LOCAL_RESOURCE: "ConnectError",
    AttemptStatus.UNSENT: "ConnectError",
    AttemptStatus.INSTANCE_REMOVED: "ConnectError",
    AttemptStatus.QUEUE_TIMEOUT: "PoolTimeout",
    AttemptStatus.ATTEMPT_TIMEOUT: "ReadTimeout",
    AttemptStatus.UNRESPONSIVE: "ReadTimeout",
    AttemptStatus.DEADLINE: "ReadTimeout",
    AttemptStatus.CANCELLED: "ReadError",
}
_TIMEOUTS = {"ConnectTimeout", "PoolTimeout", "ReadTimeout"}


def library_error(library: Library, error: EasError) -> Exception:
    """Return the HTTP library's exception for an error of eas_tw; the caller raises it `from error`."""
    made: Exception = getattr(library.module, _name(error))(str(error))
    return made


def connect_error(library: Library, error: EasError) -> Exception:
    """Return the HTTP library's `ConnectError` for a failed `init`, after which no instance is known."""
    made: Exception = library.module.ConnectError(str(error))
    return made


def no_list_error(timeout_s: float | None, last_error: str) -> DiscoveryError:
    """Return the error of a request whose connect timeout passed before the first list of instances arrived."""
    return DiscoveryError(
        f"no list of instances within the connect timeout of {timeout_s} s{f': {last_error}' if last_error else ''}"
    )


def typed_cause(error: BaseException) -> EasError:
    """Return the error of eas_tw that caused a `PredictException`."""
    cause = error.__cause__
    return cause if isinstance(cause, EasError) else EasError(str(error))


def _name(error: EasError) -> str:
    usual = next(NAMES[kind] for kind in type(error).__mro__ if kind in NAMES)
    attempts: Any = getattr(error, "attempts", ())
    if not attempts or not isinstance(error, ConnectionFailed | DeadlineExceeded | StreamBroken):
        return usual
    found = _BY_ATTEMPT.get(attempts[-1].outcome.attempt_status, usual)
    if isinstance(error, DeadlineExceeded) and found not in _TIMEOUTS:
        return usual  # the call timed out, even if its last attempt did not
    return found
