"""The official SDK's one exception."""

from __future__ import annotations

from eas_tw import EasError, RequestFailed, StatusError

NO_STATUS = 500
"""What the official SDK reports when no instance has answered."""


class PredictException(Exception):
    """Whatever went wrong; `__cause__` is the typed error of eas_tw.

    Attributes:
        code: The HTTP status an instance answered with; 500 when none did.
        message: The body of that answer, as bytes; a sentence, as text, when there was none. As in the official SDK.
        attempts: One `Attempt` for each try of the call, in order.
    """

    def __init__(self, code: int, message: bytes | str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"Code: {self.code}, Message: {self.message!s}"

    @property
    def attempts(self) -> tuple[object, ...]:
        """The tries of the call that failed."""
        cause = self.__cause__
        return cause.attempts if isinstance(cause, RequestFailed) else ()


def as_predict_exception(error: EasError) -> PredictException:
    """The exception a blocking program is told an error with; raise it from `error`."""
    if isinstance(error, StatusError):
        return PredictException(error.status, error.body)
    return PredictException(NO_STATUS, str(error))
