"""The account of a job, and the errors that end it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from eas_tw import EasError

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen(kw_only=True)
class ScoringReport:
    """The account of a job.

    Attributes:
        rows: The number of rows that were scored or failed.
        succeeded: The number of rows with an output.
        failed: The number of error rows.
        requests: The number of requests that were sent; the client's retries and hedges are not included.
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
        """The rows per second; 0 for a job without duration."""
        return self.rows / self.elapsed_s if self.elapsed_s else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the account as a dictionary that can be written as JSON."""
        figures = asdict(self)
        figures["elapsed_s"] = round(self.elapsed_s, 3)
        return {**figures, "rows_per_s": round(self.rows_per_s, 1)}


class TooManyErrors(EasError):
    """More rows failed than `max_errors` allows.

    Attributes:
        report: The account up to that row.
    """

    def __init__(self, message: str, report: ScoringReport | None = None) -> None:
        super().__init__(message)
        self.report = report
