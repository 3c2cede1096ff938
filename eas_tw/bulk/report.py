"""The report of a job, and the error that ends a job with too many error rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from eas_tw import EasError

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen(kw_only=True)
class ScoringReport:
    """The figures of a job: its rows, requests, errors and duration.

    Attributes:
        rows: The number of rows that succeeded or failed.
        succeeded: The number of rows with an output.
        failed: The number of error rows.
        requests: The number of requests that were sent, without the client's retries and hedges.
        errors: The number of error rows, by the name of the error's class.
        elapsed_s: The duration of the job, in seconds.
    """

    rows: int = 0
    succeeded: int = 0
    failed: int = 0
    requests: int = 0
    errors: Mapping[str, int] = field(factory=dict)
    elapsed_s: float = 0.0

    @property
    def rows_per_s(self) -> float:
        """Rows per second; 0 if `elapsed_s` is 0."""
        return self.rows / self.elapsed_s if self.elapsed_s else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary that can be written as JSON."""
        figures = asdict(self)
        figures["elapsed_s"] = round(self.elapsed_s, 3)
        return {**figures, "rows_per_s": round(self.rows_per_s, 1)}


class TooManyErrors(EasError):
    """More rows failed than `max_errors` allows.

    Attributes:
        report: The report of the job up to the row that exceeded the limit; `None` if none was given.
    """

    def __init__(self, message: str, report: ScoringReport | None = None) -> None:
        super().__init__(message)
        self.report = report
