"""`PredictException`, the only exception class of the official SDK."""

from __future__ import annotations

from typing import Any

from eas_tw import AttemptResult, EasError, RequestFailed, StatusError

NO_STATUS = 500
"""The code that the official SDK uses if no instance answered."""


class PredictException(Exception):
    """A call or a setting failed; `__cause__` is the typed error of eas_tw.

    Attributes:
        code: The HTTP status of the instance's response; 500 if there was no response.
        message: The body of that response, as bytes; the error's text, as `str`, if there was no response. `message`
            has the same two types in the official SDK.
        attempts: One `AttemptResult` for each attempt of the call, in order.
    """

    def __init__(self, code: int, message: bytes | str, attempts: tuple[AttemptResult, ...] = ()) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.attempts = attempts

    def __str__(self) -> str:
        return f"Code: {self.code}, Message: {self.message!s}"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.args == other.args and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.args))

    def __reduce__(self) -> tuple[type[PredictException], tuple[Any, ...], dict[str, Any]]:
        state = vars(self).copy()
        if isinstance(self.__cause__, EasError):
            state["__cause__"] = self.__cause__  # the default pickling of exceptions omits it
        return type(self), self.args, state


def as_predict_exception(error: EasError) -> PredictException:
    """Convert an error to a `PredictException`; the caller raises it `from error`."""
    if isinstance(error, StatusError):
        return PredictException(error.status, error.body, error.attempts)
    return PredictException(NO_STATUS, str(error), error.attempts if isinstance(error, RequestFailed) else ())
