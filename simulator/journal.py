"""What reached the instances: one row a request, bounded in memory; counts go on when rows are forgotten."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ROWS = 100_000


@frozen
class Row:
    """One request that reached an instance.

    Attributes:
        at: Seconds since the epoch, when it was answered, or swallowed.
        service: The instance's service.
        instance: The instance's id.
        method: HTTP method.
        path: Path and query, as sent.
        status: HTTP status of the answer; 0 for none.
        fault: Name of the fault that struck; empty for none.
        bytes_in: Size of the request's body.
        bytes_out: Size of the answer's body.
        elapsed_s: From the whole request to the answer.
    """

    at: float
    service: str
    instance: str
    method: str
    path: str
    status: int
    fault: str
    bytes_in: int
    bytes_out: int
    elapsed_s: float


class Journal:
    """The last `MAX_ROWS` rows, and the number of all."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.rows: deque[Row] = deque(maxlen=MAX_ROWS)
        self.total = 0
        self.by_instance: Counter[str] = Counter()

    def write(self, row: Row) -> None:
        """One row more."""
        self.rows.append(row)
        self.total += 1
        self.by_instance[row.instance] += 1

    def last(self, limit: int) -> list[dict[str, Any]]:
        """The newest rows as JSON values, oldest first."""
        skip = max(0, len(self.rows) - limit)
        return [asdict(row) for at, row in enumerate(self.rows) if at >= skip]

    def count(self, matcher: Mapping[str, Any]) -> int:
        """How many rows have these values in these fields."""
        return sum(all(getattr(row, name) == value for name, value in matcher.items()) for row in self.rows)
