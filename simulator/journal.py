"""The journal: one row for each request that reached an instance.

The memory is bounded: only the newest rows are stored, but the totals of an instance include all of its rows. The
totals of at most `MAX_ACCOUNTS` instances are stored; the oldest are dropped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from attrs import define, field, frozen

from simulator.captures import Captures
from simulator.streaming import StreamEnd

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ROWS = 100_000
MAX_ACCOUNTS = 20_000
MAX_PATH = 512
"""Maximum length of a stored path. A head may have 64 KiB; 100,000 paths of that length would take 6 GB."""
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of the response time histogram, in seconds."""


class Row(NamedTuple):
    """One request that reached an instance.

    Attributes:
        at: Time at which the request ended, with or without a response, in seconds since the epoch.
        service: Name of the instance's service.
        instance: Id of the instance.
        method: HTTP method.
        path: Path and query, as sent; truncated if long.
        status: HTTP status of the response; 0 for none.
        fault: Names of the faults that applied, joined with commas; empty for none.
        bytes_in: Size of the request's body.
        bytes_out: Size of the response's body; of a streamed one, the number of bytes sent.
        elapsed_s: Seconds from the complete request to the response; to the end of a streamed one.
        first_byte_s: Seconds from the complete request to the first byte of the response's body; 0 for none.
        stream: How a streamed response ended: one of `StreamEnd`; empty for a response that was not streamed.
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
    first_byte_s: float = 0.0
    stream: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the request was answered completely with 2xx.

        A WebSocket counts as complete if it ended regularly or the client closed it.
        """
        if self.status == HTTPStatus.SWITCHING_PROTOCOLS:
            return self.stream in (StreamEnd.COMPLETE, StreamEnd.CLIENT_CLOSED)
        return 200 <= self.status < 300 and self.stream in ("", StreamEnd.COMPLETE)  # noqa: PLR2004


FIELDS: Mapping[str, type] = get_type_hints(Row)
"""The fields of a row, with the types of their values."""


class MatchError(ValueError):
    """Raised for an invalid matcher; the text begins with the path of the wrong value."""


@frozen
class Matcher:
    """Selects rows by the values of their fields.

    Attributes:
        equal: Required values, by field.
        status_class: First digit of the status; `None` for any.
        after: Number of a row; `Journal.newest` returns only rows with greater numbers.
    """

    equal: Mapping[str, Any] = field(factory=dict)
    status_class: int | None = None
    after: int = 0

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Matcher:
        """Parse a matcher from an object of fields and values.

        Raises:
            MatchError: A field is unknown, or no row can have the value.
        """
        for name, value in given.items():
            if name not in FIELDS:
                raise MatchError(f"$.{name}: unknown; a row has {', '.join(FIELDS)}")
            kinds = (int, float) if FIELDS[name] is float else FIELDS[name]
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise MatchError(f"$.{name}: expected {_WORDS[FIELDS[name]]}, got {str(value)[:60]!r}")
        return cls(dict(given))

    def accepts(self, row: Row) -> bool:
        """Return whether the matcher selects a row."""
        if self.status_class is not None and row.status // 100 != self.status_class:
            return False
        return all(getattr(row, name) == value for name, value in self.equal.items())


_WORDS = {str: "a string", int: "a whole number", float: "a number"}


@define
class RequestTotals:
    """The totals of one instance, since the journal was cleared.

    Attributes:
        service: Name of the instance's service.
        statuses: Number of responses by HTTP status; 0 for requests without response.
        requests: Number of requests.
        failures: Number of requests not answered completely with 2xx.
        faulty: Number of requests to which a fault applied.
        bytes_in: Sum of the sizes of the request bodies.
        bytes_out: Sum of the sizes of the response bodies.
        elapsed_s: Sum of the response times, in seconds.
        slower: Histogram of the response times: `slower[i]` is the number of times up to `BUCKETS_S[i]` and above the
            previous bound; the last element is the number of times above all bounds.
    """

    service: str
    statuses: Counter[int] = field(factory=Counter)
    requests: int = 0
    failures: int = 0
    faulty: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    elapsed_s: float = 0.0
    slower: list[int] = field(factory=lambda: [0] * (len(BUCKETS_S) + 1))

    def add(self, row: Row) -> None:
        """Add a request."""
        self.requests += 1
        self.statuses[row.status] += 1
        self.failures += not row.is_good
        self.faulty += bool(row.fault)
        self.bytes_in += row.bytes_in
        self.bytes_out += row.bytes_out
        self.elapsed_s += row.elapsed_s
        self.slower[bisect_left(BUCKETS_S, row.elapsed_s)] += 1


class Journal:
    """The last `MAX_ROWS` rows, the totals of each instance, and the number of all rows.

    Rows are numbered from 1, in the order in which they were written.

    Attributes:
        captures: Headers and bodies of rows, for services that enable capturing.
    """

    def __init__(self) -> None:
        self.captures = Captures()
        self.clear()

    def clear(self) -> None:
        """Remove all rows, totals and captures."""
        self.rows: deque[Row] = deque(maxlen=MAX_ROWS)
        self.total = 0
        self.accounts: dict[str, RequestTotals] = {}
        self.captures.clear()

    @property
    def by_instance(self) -> Counter[str]:
        """The number of requests of each instance that had at least one request."""
        return Counter({name: account.requests for name, account in self.accounts.items()})

    def account(self, instance: str) -> RequestTotals:
        """Return the totals of an instance; zeros if the instance had no request."""
        return self.accounts.get(instance) or RequestTotals("")

    def write(self, row: Row) -> None:
        """Append a row; a long path is truncated."""
        if len(row.path) > MAX_PATH:
            row = row._replace(path=f"{row.path[:MAX_PATH]}…")
        self.rows.append(row)
        self.total += 1
        account = self.accounts.get(row.instance)
        if account is None:
            account = self._open(row)
        account.add(row)

    def _open(self, row: Row) -> RequestTotals:
        if len(self.accounts) >= MAX_ACCOUNTS:
            del self.accounts[next(iter(self.accounts))]
        account = self.accounts[row.instance] = RequestTotals(row.service)
        return account

    def newest(self, limit: int, matcher: Matcher | None = None) -> list[tuple[int, Row]]:
        """Return the newest rows that match, at most `limit`, oldest first, each with its number."""
        wanted = matcher or Matcher()
        numbers = range(self.total, max(wanted.after, self.total - len(self.rows)), -1)
        numbered = zip(numbers, reversed(self.rows), strict=False)
        found = (pair for pair in numbered if wanted.accepts(pair[1]))
        return list(islice(found, limit))[::-1]

    def count(self, matcher: Matcher) -> int:
        """Count the stored rows that match."""
        return sum(map(matcher.accepts, self.rows))


def to_json(number: int, row: Row) -> dict[str, Any]:
    """Return a row as a JSON value."""
    return {"number": number, **row._asdict()}
