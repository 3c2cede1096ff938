"""Batches (the rows of one request), error rows, and the conversion between rows, requests, responses and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, frozen

from eas_tw import AttemptResult, BodyError, EasError, JsonRequest, JsonResponse, RequestFailed, StatusError
from eas_tw.display import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NOT_OF_THE_ROWS = frozenset({401, 403, 404, 408, 429, 502, 503, 504})
"""HTTP statuses that do not depend on the rows of a request, so that smaller requests would fail as well."""

NOT_READY = object()
"""Value that an iterator of rows may return instead of a row that has not arrived yet; see `Engine.wake`."""


@frozen
class ErrorRow:
    """A row that could not be scored.

    Attributes:
        position: The position of the row in the input, from 0.
        input: The row, as it was read.
        error_type: The name of the class of the error, such as `StatusError`, or of the exception of `encode` or
            `decode`.
        message: The error's text.
        attempts: The attempts of the call if the call failed; empty for other errors, such as an exception of `decode`.
    """

    position: int
    input: Any
    error_type: str
    message: str
    attempts: tuple[AttemptResult, ...] = ()

    @classmethod
    def of(cls, position: int, row: Any, error: BaseException) -> ErrorRow:
        """Make the error row of a row and the error with which it failed."""
        attempts = error.attempts if isinstance(error, RequestFailed) else ()
        return cls(position, row, type(error).__name__, text_of(error), attempts)

    def as_dict(self) -> dict[str, Any]:
        """Return the error row as a dictionary; it can be written as JSON if the input can."""
        attempts = [
            {
                "instance": attempt.instance.address,
                "outcome": str(attempt.outcome),
                "elapsed_s": round(attempt.elapsed_s, 6),
            }
            for attempt in self.attempts
        ]
        return {
            "row": self.position,
            "input": self.input,
            "error": self.error_type,
            "message": self.message,
            "attempts": attempts,
        }


@define(eq=False)
class Batch:
    """The rows of one request, which are consecutive in the input.

    Attributes:
        position: The position of the first row in the input, from 0.
        rows: The rows, at least one.
    """

    position: int
    rows: Sequence[Any]

    def halves(self) -> tuple[Batch, Batch]:
        """Split a batch of two or more rows."""
        middle = len(self.rows) // 2
        return Batch(self.position, self.rows[:middle]), Batch(self.position + middle, self.rows[middle:])


def is_of_the_rows(error: BaseException) -> bool:
    """Return whether a request may have failed because of its rows, so that requests with fewer rows may succeed."""
    if isinstance(error, StatusError):
        return error.status not in _NOT_OF_THE_ROWS
    return isinstance(error, BodyError) or not isinstance(error, EasError)


class Codec:
    """Converts a batch to a request, and a response to the outputs of the batch.

    Args:
        encode: A function of one row that returns its request. `None` to send text, bytes and requests unchanged, and
            other rows as JSON.
        decode: A function of a row and its response that returns the output. `None` for the data of a JSON response,
            the text of a text response, and any other response itself.
        encode_batch: A function of a list of rows that returns their request. `None` for a JSON array of the rows if
            `is_batched`, else for `encode`.
        decode_batch: A function of a list of rows and their response that returns a list with an output for each row.
            `None` for the items of a JSON array if `is_batched`, else for `decode`.
        is_batched: Whether requests have several rows.
    """

    def __init__(
        self,
        encode: Callable[[Any], Any] | None,
        decode: Callable[[Any, Any], Any] | None,
        encode_batch: Callable[[list[Any]], Any] | None,
        decode_batch: Callable[[list[Any], Any], Any] | None,
        *,
        is_batched: bool,
    ) -> None:
        self._encode = encode or _as_request
        self._decode = decode or _data_of
        self._encode_batch = encode_batch or (JsonRequest if is_batched else None)
        self._decode_batch = decode_batch or (_each if is_batched else None)

    def request(self, batch: Batch) -> Any:
        """Make the request of a batch; exceptions of `encode` and `encode_batch` are passed on."""
        if self._encode_batch is None:
            (row,) = batch.rows
            return self._encode(row)
        return self._encode_batch(list(batch.rows))

    def outputs(self, batch: Batch, response: Any) -> Sequence[Any]:
        """Make the outputs of a batch; exceptions of `decode` and `decode_batch` are passed on.

        Raises:
            BodyError: The number of outputs is not the number of rows.
        """
        if self._decode_batch is None:
            (row,) = batch.rows
            return (self._decode(row, response),)
        outputs = list(self._decode_batch(list(batch.rows), response))
        if len(outputs) != len(batch.rows):
            raise BodyError(f"the response has {len(outputs)} outputs for {len(batch.rows)} rows")
        return outputs


def _as_request(row: Any) -> Any:
    """Return the request of a row: text, bytes and requests unchanged, and any other row as a `JsonRequest`."""
    is_sent_as_it_is = isinstance(row, (str, bytes, bytearray, memoryview)) or hasattr(row, "parse_response")
    return row if is_sent_as_it_is else JsonRequest(row)


def _data_of(_: Any, response: Any) -> Any:
    """Return the data of a JSON response, the text of a text response, or any other response unchanged."""
    if isinstance(response, JsonResponse):
        return response.data
    return response.to_string() if hasattr(response, "to_string") else response


def _each(rows: list[Any], response: Any) -> list[Any]:
    """Return the items of a JSON array."""
    data = _data_of(rows, response)
    if not isinstance(data, list):
        raise BodyError("the response to a batch must be a JSON array with one item for each row; set decode_batch")
    return data
