"""Instances, and what a discovery reply says about them.

Owns the reading of the control plane's two dialects (upstreams and VIPServer) into a validated snapshot, and the
difference between two snapshots. A reply is read row by row: one bad row never discards the good ones, and a reply
that leaves nothing is refused as a whole, with a reason (the vendor's second rule: the cache changes only on 200 and a
non-empty list). Knows no socket and no cache.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_MAX_PORT = 65535


class Instance(NamedTuple):
    """One instance of a service.

    Attributes:
        ip: Address, as the control plane spells it.
        port: TCP port, 1–65535.
        weight: Its share of the traffic, relative to the others; ≥ 0, and 0 means no new calls.
    """

    ip: str
    port: int
    weight: float = 1

    @property
    def key(self) -> tuple[str, int]:
        """Ip and port, which make two rows the same instance whatever the weight."""
        return self.ip, self.port

    @property
    def address(self) -> str:
        """Ip and port as a Host header has them (RFC 9110 §7.2), with brackets around IPv6."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


class Refusal(StrEnum):
    """Why a discovery reply changed nothing."""

    HTTP_STATUS = "http_status"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    VIOLATION = "violation"
    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    EMPTY_LIST = "empty_list"
    NO_USABLE_ROW = "no_usable_row"
    ZERO_WEIGHTS = "zero_weights"


class RefusedReplyError(ValueError):
    """A reply that must not touch the cache.

    Attributes:
        reason: The reason, one of `Refusal`.
    """

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class BadStatusError(RefusedReplyError):
    """A reply with another status than 200.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(Refusal.HTTP_STATUS, f"the reply has status {status}")
        self.status = status


class BadRowError(ValueError):
    """A row that cannot be an instance; the text says which field, what it was, and where."""


class Snapshot(NamedTuple):
    """A usable discovery reply.

    Attributes:
        instances: At least one, of which at least one has a weight above 0; no two with the same ip and port.
        bad_rows: Reason of each dropped row, with the number of rows dropped for it.
    """

    instances: tuple[Instance, ...]
    bad_rows: Counter[str]


class Added(NamedTuple):
    """An instance that was not in the list before."""

    instance: Instance


class Removed(NamedTuple):
    """An instance that is in the list no more."""

    instance: Instance


class Reweighted(NamedTuple):
    """An instance that stays, with another weight."""

    instance: Instance
    weight_before: float


Change = Added | Removed | Reweighted


def read_upstreams(body: bytes) -> Snapshot:
    """Read a reply of the upstreams interface (`endpoints.items`).

    Args:
        body: The bytes of a reply with status 200.

    Raises:
        RefusedReplyError: Nothing in the reply can be used.
    """
    reply = _json_object(body)
    rows = reply.get("endpoints", {})
    rows = rows.get("items") if isinstance(rows, dict) else None
    if rows is None:
        raise RefusedReplyError(Refusal.WRONG_SHAPE, "the reply has no list at endpoints.items")
    return _snapshot(rows, "endpoints.items", checked_instance)


def read_vipserver(body: bytes) -> Snapshot:
    """Read a reply of VIPServer's `srvIPXT` (`hosts`); rows that say `valid: false` count as weight 0.

    Raises:
        RefusedReplyError: Nothing in the reply can be used.
    """
    reply = _json_object(body)
    if "hosts" not in reply:
        raise RefusedReplyError(Refusal.WRONG_SHAPE, "the reply has no list at hosts")
    return _snapshot(reply["hosts"], "hosts", _vipserver_row)


def changes(before: Sequence[Instance], after: Sequence[Instance]) -> tuple[Change, ...]:
    """What turns one list into the other, in the order of the lists; removals first."""
    old = {instance.key: instance for instance in before}
    new = {instance.key: instance for instance in after}
    found: list[Change] = [Removed(instance) for key, instance in old.items() if key not in new]
    for key, instance in new.items():
        known = old.get(key)
        if known is None:
            found.append(Added(instance))
        elif known.weight != instance.weight:
            found.append(Reweighted(instance, known.weight))
    return tuple(found)


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedReplyError(Refusal.NOT_JSON, f"the reply is not JSON: {error}") from error
    if not isinstance(reply, dict):
        raise RefusedReplyError(Refusal.WRONG_SHAPE, f"the reply is a JSON {type(reply).__name__}, not an object")
    return reply


def _snapshot(rows: object, where: str, read_row: Callable[[Mapping[str, Any]], Instance | None]) -> Snapshot:
    if not isinstance(rows, list):
        raise RefusedReplyError(Refusal.WRONG_SHAPE, f"{where} is a {type(rows).__name__}, not a list")
    if not rows:
        raise RefusedReplyError(Refusal.EMPTY_LIST, f"{where} is empty")
    merged, bad_rows = _merge(rows, read_row)
    if not merged:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in bad_rows.items()) or "all are marked not valid"
        raise RefusedReplyError(Refusal.NO_USABLE_ROW, f"no row of {where} can be used: {reasons}")
    if all(instance.weight == 0 for instance in merged):
        raise RefusedReplyError(Refusal.ZERO_WEIGHTS, f"every row of {where} has weight 0")
    return Snapshot(merged, bad_rows)


def _merge(
    rows: Iterable[object], read_row: Callable[[Mapping[str, Any]], Instance | None]
) -> tuple[tuple[Instance, ...], Counter[str]]:
    """Rows to instances; of rows with one ip and port the heaviest counts, so that a repeated row changes nothing."""
    merged: dict[tuple[str, int], Instance] = {}
    bad_rows: Counter[str] = Counter()
    for row in rows:
        try:
            instance = read_row(_row_object(row))
        except BadRowError as error:
            bad_rows[str(error)] += 1
            continue
        if instance is None:
            continue
        known = merged.get(instance.key)
        if known is None or known.weight < instance.weight:
            merged[instance.key] = instance
    return tuple(merged.values()), bad_rows


def _row_object(row: object) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise BadRowError(f"row is {_short(row)}, not an object")
    return row


def checked_instance(row: Mapping[str, Any]) -> Instance:
    """The instance a row of an upstreams reply describes.

    Raises:
        BadRowError: It describes none.
    """
    return Instance(_ip(row), _port(row), _weight(row))


def _vipserver_row(row: Mapping[str, Any]) -> Instance | None:
    return None if row.get("valid") is False else Instance(_ip(row), _port(row), _weight(row))


def _ip(row: Mapping[str, Any]) -> str:
    ip = row.get("ip")
    if isinstance(ip, str):
        if ":" not in ip and _HOST_NAME.fullmatch(ip):
            return ip
        try:
            return str(ipaddress.IPv6Address(ip))
        except ValueError:
            pass
    raise BadRowError(f"ip must be an address, got {_short(ip)}")


def _port(row: Mapping[str, Any]) -> int:
    port = row.get("port")
    if isinstance(port, int) and not isinstance(port, bool) and 1 <= port <= _MAX_PORT:
        return port
    raise BadRowError(f"port must be a whole number from 1 to {_MAX_PORT}, got {_short(port)}")


def _weight(row: Mapping[str, Any]) -> float:
    weight = row.get("weight")
    if isinstance(weight, int | float) and not isinstance(weight, bool) and 0 <= weight <= MAX_WEIGHT:
        return weight
    raise BadRowError(f"weight must be a number from 0 to {MAX_WEIGHT:,}, got {_short(weight)}")


MAX_WEIGHT = 2**31 - 1
"""Above every weight seen, and small enough that shares stay exact in a float."""


def _short(value: object) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    text = json.dumps(value, ensure_ascii=True, default=repr)
    return text if len(text) <= 40 else text[:37] + "..."  # noqa: PLR2004
