"""Creation of the errors of failed calls, whose messages list the attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw import errors
from eas_tw.display import text_of
from eas_tw.net.heads import text_headers
from eas_tw.policy.outcomes import AttemptStatus, Outcome

if TYPE_CHECKING:
    from eas_tw.policy.outcomes import AttemptResult

    History = tuple[AttemptResult, ...]

_EXCERPT_CHARS = 200
_SHOWN_ATTEMPTS = 8
"""Maximum number of attempts in an error's message: the first and the last ones.

A call may have many more, because only the deadline bounds attempts that lack a local resource.
"""
_ERRORS: dict[AttemptStatus, type[errors.RequestFailed]] = {
    AttemptStatus.VIOLATION: errors.ProtocolViolation,
    AttemptStatus.OVERLOADED: errors.Overloaded,
    AttemptStatus.LOCAL_RESOURCE: errors.LocalResourceError,
}


def gave_up_error(why: str, history: History, answer: tuple[bytes, bytes] | None) -> errors.RequestFailed:
    """Return the error of a call that is not retried.

    Args:
        why: The reason, as the end of a sentence that begins with the last attempt.
        history: The attempts, at least one.
        answer: The head and body of the last attempt's response; `None` if the attempt received no whole response.
    """
    text = f"{history[-1]} {why}{_trail(history[:-1])}"
    last = history[-1].outcome
    if last.attempt_status is not AttemptStatus.STATUS or answer is None:
        return _ERRORS.get(last.attempt_status, errors.ConnectionFailed)(text, history)
    head, body = answer
    excerpt = body[:_EXCERPT_CHARS].decode("utf-8", "replace").strip()
    text = f"{text}; the response says: {excerpt}" if excerpt else text
    return errors.StatusError(text, history, status=last.status, body=body, headers=text_headers(head))


def deadline_error(timeout_s: float, history: History, *, was_answered: bool = False) -> errors.DeadlineExceeded:
    """Return the error of a call whose deadline has passed.

    Args:
        timeout_s: The call's timeout in seconds.
        history: The attempts that had failed, or that the deadline has ended.
        was_answered: Whether a complete response had arrived and was being decompressed.
    """
    count = len(history)
    where = f"after {count} attempt{'s' * (count != 1)}" if history else "before it was sent"
    where = "while the response was being decompressed" if was_answered else where
    return errors.DeadlineExceeded(f"the deadline of {timeout_s:g} s passed {where}{_trail(history)}", history)


def no_instance_error(history: History) -> Exception:
    """Return the error of a call for which no instance is left."""
    if history:
        return errors.ConnectionFailed(f"no instance is left to try{_trail(history)}", history)
    return errors.NoInstances("the list of instances is empty: wait for init() before the first predict()")


def internal_error(error: BaseException, history: History) -> errors.RequestFailed:
    """Return the error of a call that an exception inside the client ended: a bug, or a signal handler that raised."""
    failed = errors.RequestFailed(
        f"{type(error).__name__} was raised inside the client, see the log: {text_of(error)}{_trail(history)}", history
    )
    failed.__cause__ = error
    return failed


def awaitable_error(error: BaseException, what: str) -> BaseException:
    """Return the error of a call in which the caller's code raised: the same exception, unless it is `StopIteration`.

    Args:
        error: The exception.
        what: A name for the code that raised it, for the message.
    """
    if not isinstance(error, StopIteration):
        return error
    # StopIteration cannot be raised in a coroutine (PEP 479), and asyncio Futures do not accept it.
    failed = errors.BodyError(f"{what} raised {error!r}")
    failed.__cause__ = error
    return failed


def outcome_of(status: int, head: bytes) -> Outcome:
    """Return the outcome of an attempt with an error status."""
    return Outcome(AttemptStatus.STATUS, status, retry_after_s=_retry_after_s(text_headers(head)))


def _trail(history: History) -> str:
    if not history:
        return ""
    shown = [*map(str, history)]
    if len(history) > _SHOWN_ATTEMPTS:
        shown[_SHOWN_ATTEMPTS // 2 : -_SHOWN_ATTEMPTS // 2] = [f"{len(history) - _SHOWN_ATTEMPTS} more"]
    return "; attempts: " + ", ".join(shown)


def _retry_after_s(headers: dict[str, str]) -> float | None:
    """Return the seconds of `Retry-After`; `None` for a date (RFC 9110 §10.2.3), which needs synchronised clocks."""
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None
