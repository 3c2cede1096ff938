"""Parsing of discovery replies into lists of instances.

The two formats of the control plane (upstreams and VIPServer) are parsed into a validated snapshot. Rows are checked
separately, so an invalid row is dropped and the valid ones are used. A reply without a usable row is rejected with a
reason: the cache changes only on a 200 with a non-empty list, as in the official SDKs. The parser is a generator that
yields after each bounded step, so that a long list need not block the reactor.
"""

from __future__ import annotations

import json
from collections import Counter
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from eas_tw.deprecated_names import deprecated_names
from eas_tw.policy.instance import MAX_WEIGHT, Added, Change, Instance, Removed, Reweighted, changes, is_same_list
from eas_tw.policy.instance_rows import BadRowError, RowFault, checked_instance, short, vipserver_row
from eas_tw.policy.json_rows import JsonCursor

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

# The list includes names that have moved to other modules, so that existing imports continue to work.
__all__ = [
    "MAX_INSTANCES",
    "MAX_WEIGHT",
    "Added",
    "BadRowError",
    "BadStatusError",
    "Change",
    "DiscoveryReplyRejected",
    "Instance",
    "RejectReason",
    "Removed",
    "Reweighted",
    "RowFault",
    "Snapshot",
    "changes",
    "checked_instance",
    "is_same_list",
    "read_upstreams",
    "read_vipserver",
    "upstreams_in_steps",
    "vipserver_in_steps",
]

MAX_INSTANCES = 10_000
"""Maximum number of instances in a list, 100 times the largest known service; further rows are dropped and counted."""

_STEP_CHARS = 2**16
_LEAST_ROW_CHARS = 64
"""Minimum cost of a row in characters; checking a shorter row takes as long as one of this length."""

_DETAIL_CHARS = 500


class RejectReason(StrEnum):
    """The reason why a discovery reply changed nothing."""

    HTTP_STATUS = "http_status"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    VIOLATION = "violation"
    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    EMPTY_LIST = "empty_list"
    NO_USABLE_ROW = "no_usable_row"
    ZERO_WEIGHTS = "zero_weights"
    NOT_APPLIED = "not_applied"


_SERVER_ERRORS = 500
_NO_CONTROL_PLANE = "check that the endpoint is a control plane, and that it works"
_NO_INSTANCES = "check that the service has running instances"
UNREACHED_ADVICE = (
    "check the endpoint, and that this machine is in a VPC of its region; from elsewhere call through the gateway"
)
_ADVICE = {
    RejectReason.HTTP_STATUS: "check the service's name, and that the endpoint is the one of its region and no gateway",
    RejectReason.TIMEOUT: UNREACHED_ADVICE,
    RejectReason.CONNECTION: UNREACHED_ADVICE,
    RejectReason.VIOLATION: _NO_CONTROL_PLANE,
    RejectReason.NOT_JSON: _NO_CONTROL_PLANE,
    RejectReason.WRONG_SHAPE: _NO_CONTROL_PLANE,
    RejectReason.EMPTY_LIST: _NO_INSTANCES,
    RejectReason.NO_USABLE_ROW: _NO_INSTANCES,
    RejectReason.ZERO_WEIGHTS: _NO_INSTANCES,
    RejectReason.NOT_APPLIED: "see the log",
}


class DiscoveryReplyRejected(ValueError):
    """A discovery reply that must not change the cache.

    Attributes:
        reason: The reason, one of `RejectReason`.
        detail: The reason as a sentence, at most 500 characters.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        # The detail is shown in logs and errors. It may quote the control plane, so its length is bounded.
        detail = detail if len(detail) <= _DETAIL_CHARS else detail[: _DETAIL_CHARS - 3] + "..."
        super().__init__(reason, detail)  # all arguments, because unpickling passes `args` to the class
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return self.detail

    @property
    def advice(self) -> str:
        """Advice for the user on what to check if every reply is rejected for this reason."""
        return _ADVICE[self.reason]


class BadStatusError(DiscoveryReplyRejected):
    """A discovery reply with a status other than 200.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(RejectReason.HTTP_STATUS, f"the reply has status {status}")
        self.args = (status,)
        self.status = status

    @property
    def advice(self) -> str:
        """Advice for the user on what to check if every reply is rejected for this reason."""
        return _ADVICE[RejectReason.HTTP_STATUS] if self.status < _SERVER_ERRORS else _NO_CONTROL_PLANE


class Snapshot(NamedTuple):
    """The content of a usable discovery reply.

    Attributes:
        instances: One or more instances, of which at least one has a weight above 0; each ip and port occurs once.
        bad_rows: Number of dropped rows by fault (`RowFault`).
        examples: The first dropped row of each fault, described in one short sentence.
    """

    instances: tuple[Instance, ...]
    bad_rows: Counter[str]
    examples: Mapping[str, str] = MappingProxyType({})


def read_upstreams(body: bytes) -> Snapshot:
    """Parse a reply of the upstreams interface in one call, see `upstreams_in_steps`."""
    return _in_one_go(upstreams_in_steps(body))


def read_vipserver(body: bytes) -> Snapshot:
    """Parse a reply of VIPServer in one call, see `vipserver_in_steps`."""
    return _in_one_go(vipserver_in_steps(body))


def upstreams_in_steps(body: bytes) -> Generator[None, None, Snapshot]:
    """Parse a reply of the upstreams interface (`endpoints.items`).

    Args:
        body: The body of a reply with status 200.

    Yields:
        `None`, after each step of a few milliseconds.

    Returns:
        The content of the reply.

    Raises:
        DiscoveryReplyRejected: Nothing in the reply can be used.
    """
    return _steps(body, ("endpoints", "items"), checked_instance)


def vipserver_in_steps(body: bytes) -> Generator[None, None, Snapshot]:
    """Parse a reply of VIPServer's `srvIPXT` (`hosts`) in steps; a row with `valid: false` is skipped."""
    return _steps(body, ("hosts",), vipserver_row)


class _ReadRow(Protocol):
    """A function that converts a row to an instance, and returns `None` for a row that is skipped."""

    def __call__(self, row: Mapping[str, Any], /) -> Instance | None: ...


def _in_one_go(steps: Generator[None, None, Snapshot]) -> Snapshot:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            snapshot: Snapshot = end.value
            return snapshot


def _steps(body: bytes, path: tuple[str, ...], read_row: _ReadRow) -> Generator[None, None, Snapshot]:
    where = ".".join(path)
    rows, other = None, None
    try:
        cursor = JsonCursor(body.decode(json.detect_encoding(body)))
        if cursor.is_before("{"):
            rows = yield from _find_rows(cursor, path, where, read_row)
        else:
            other = type(cursor.value()).__name__
        cursor.end()
    except DiscoveryReplyRejected:
        raise
    except ValueError as error:
        raise DiscoveryReplyRejected(RejectReason.NOT_JSON, f"the reply is not JSON: {error}") from None
    if other is not None:
        raise DiscoveryReplyRejected(RejectReason.WRONG_SHAPE, f"the reply is a JSON {other}, not an object")
    if rows is None:
        raise DiscoveryReplyRejected(RejectReason.WRONG_SHAPE, f"the reply has no list at {where}")
    return rows.snapshot(where)


def _find_rows(
    cursor: JsonCursor, path: tuple[str, ...], where: str, read_row: _ReadRow
) -> Generator[None, None, _Rows | None]:
    """Parse the object at the cursor and the list at `path` in it; return `None` if there is no such list."""
    found: _Rows | None = None
    for key in cursor.members():
        if key != path[0]:
            cursor.value()
        elif len(path) > 1:
            if cursor.is_before("{"):
                found = yield from _find_rows(cursor, path[1:], where, read_row)
            else:
                cursor.value()
        elif cursor.is_before("["):
            found = _Rows(read_row)
            yield from found.read(cursor)
        else:
            value = cursor.value()
            if value is not None:
                raise DiscoveryReplyRejected(
                    RejectReason.WRONG_SHAPE, f"{where} is a {type(value).__name__}, not a list"
                )
    return found


class _Rows:
    """Collects the rows of a list.

    If several rows have the same ip and port, the one with the greatest weight is used. The weights are not added,
    because an instance that is registered twice by mistake would get twice its load.
    """

    def __init__(self, read_row: _ReadRow) -> None:
        self._read_row = read_row
        self._number = 0
        self._merged: dict[tuple[str, int], Instance] = {}
        self._bad_rows: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def read(self, cursor: JsonCursor) -> Generator[None, None, None]:
        """Parse the list at the cursor, yielding after each step."""
        spent, began = 0, cursor.at
        for row in cursor.elements():
            self._add(row)
            spent += max(_LEAST_ROW_CHARS, cursor.at - began)
            began = cursor.at
            if spent >= _STEP_CHARS:
                spent = 0
                yield

    def snapshot(self, where: str) -> Snapshot:
        """Return the usable rows, or raise `DiscoveryReplyRejected` when there are none."""
        if not self._number:
            raise DiscoveryReplyRejected(RejectReason.EMPTY_LIST, f"{where} is empty")
        if not self._merged:
            reasons = [f"{n} by {fault}, such as: {self._examples[fault]}" for fault, n in self._bad_rows.items()]
            why = "; ".join(reasons) or "all are marked not valid"
            raise DiscoveryReplyRejected(RejectReason.NO_USABLE_ROW, f"no row of {where} can be used: {why}")
        if not any(instance.weight for instance in self._merged.values()):
            raise DiscoveryReplyRejected(RejectReason.ZERO_WEIGHTS, f"every row of {where} has weight 0")
        return Snapshot(tuple(self._merged.values()), self._bad_rows, self._examples)

    def _add(self, row: Any) -> None:
        self._number += 1
        if not isinstance(row, dict):
            self._drop(RowFault.NOT_AN_OBJECT, f"row is {short(row)}, not an object")
            return
        try:
            instance = self._read_row(row)
        except BadRowError as error:
            self._drop(error.fault, str(error))
            return
        if instance is None:
            return
        key = instance.key
        known = self._merged.get(key)
        if known is None and len(self._merged) >= MAX_INSTANCES:
            self._drop(RowFault.BEYOND_LIMIT, f"{instance.address} comes after {MAX_INSTANCES:,} others")
        elif known is None or known.weight < instance.weight:
            self._merged[key] = instance

    def _drop(self, fault: RowFault, detail: str) -> None:
        self._bad_rows[fault.value] += 1
        self._examples.setdefault(fault.value, detail)


if not TYPE_CHECKING:
    __getattr__ = deprecated_names(__name__, {"Refusal": "RejectReason", "RefusedReplyError": "DiscoveryReplyRejected"})
