"""What a call that failed says: the error for a decision to give up, with its attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eas_tw import errors
from eas_tw.net.http1 import text_headers
from eas_tw.policy.outcomes import AttemptStatus, Outcome

if TYPE_CHECKING:
    from eas_tw.policy.outcomes import AttemptResult

    History = tuple[AttemptResult, ...]

_EXCERPT_CHARS = 200
_SHOWN_ATTEMPTS = 8
"""The first and the last of them: what this machine lacks is tried as long as the call may take."""
_ERRORS: dict[AttemptStatus, type[errors.RequestFailed]] = {
    AttemptStatus.VIOLATION: errors.ProtocolViolation,
    AttemptStatus.OVERLOADED: errors.Overloaded,
    AttemptStatus.LOCAL_RESOURCE: errors.LocalResourceError,
}


def gave_up_error(why: str, history: History, answer: tuple[bytes, bytes] | None) -> errors.RequestFailed:
    """The error of a call that is not tried again.

    Args:
        why: The end of the sentence that begins with the last attempt.
        history: The attempts, one at least.
        answer: Head and body of the last response, if there was one.
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
    """The error of a call whose time was up.

    Args:
        timeout_s: The time it had.
        history: The attempts that had failed.
        was_answered: Whether a whole response was there, and being decompressed.
    """
    count = len(history)
    where = f"after {count} attempt{'s' * (count != 1)}" if history else "before it was sent"
    where = "while the response was being decompressed" if was_answered else where
    return errors.DeadlineExceeded(f"the deadline of {timeout_s:g} s passed {where}{_trail(history)}", history)


def no_instance_error(history: History) -> Exception:
    """The error of a call that had nowhere to go."""
    if history:
        return errors.ConnectionFailed(f"no instance is left to try{_trail(history)}", history)
    return errors.NoInstances("the list of instances is empty: wait for init() before the first predict()")


def internal_error(error: BaseException, history: History) -> errors.RequestFailed:
    """The error of a call that something inside the client has ended: a bug, or a signal handler that raised."""
    failed = errors.RequestFailed(
        f"{type(error).__name__} was raised inside the client, see the log: {error}{_trail(history)}", history
    )
    failed.__cause__ = error
    return failed


def awaitable_error(error: BaseException, what: str) -> BaseException:
    """What a call ends with when code of the caller's raised this: the same, unless it could not be awaited.

    Args:
        error: What was raised.
        what: Whose code it was, for the text.
    """
    if not isinstance(error, StopIteration):
        return error
    # PEP 479: in a coroutine it would be the end of that, and no error; and an asyncio Future refuses it.
    failed = errors.BodyError(f"{what} raised {error!r}")
    failed.__cause__ = error
    return failed


def outcome_of(status: int, head: bytes) -> Outcome:
    """What a response with another status than 200 means for its attempt."""
    return Outcome(AttemptStatus.STATUS, status, retry_after_s=_retry_after_s(text_headers(head)))


def _trail(history: History) -> str:
    if not history:
        return ""
    shown = [*map(str, history)]
    if len(history) > _SHOWN_ATTEMPTS:
        shown[_SHOWN_ATTEMPTS // 2 : -_SHOWN_ATTEMPTS // 2] = [f"{len(history) - _SHOWN_ATTEMPTS} more"]
    return "; attempts: " + ", ".join(shown)


def _retry_after_s(headers: dict[str, str]) -> float | None:
    """The seconds form only (RFC 9110 §10.2.3): a date would need the server's clock to agree with ours."""
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None
