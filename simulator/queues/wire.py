"""The wire format of a queue service: parses queries and headers, renders frames and attributes. No I/O."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from attrs import frozen

from simulator.messages import Response, text_response
from simulator.queues.frames import NEWEST, WatchSettings
from simulator.queues.protobuf import attributes_bytes, frame_list_bytes
from simulator.queues.store import REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.messages import ReceivedRequest
    from simulator.queues.frames import Frame
    from simulator.queues.queue import Queue
    from simulator.queues.store import Position

PROTOBUF = "application/vnd.google.protobuf"
USER_HEADER, GROUP_HEADER = "X-EAS-QueueService-Redis-Uid", "X-EAS-QueueService-Redis-Gid"
PRIORITY_HEADER = "X-EAS-QueueService-Priority"
REQUEST_ID_HEADER = "X-Eas-Queueservice-Request-Id"
DEFAULT_GROUP, DEFAULT_USER = "eas", "anonymous"
MAX_INDEX = 2**63 - 1
MAX_WINDOW = 100_000
MAX_TIMEOUT_S = 3600.0
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_CODE = re.compile(r"([A-Z][a-z]*)+(\.[A-Z][a-z]*)?|[0-9]+", re.ASCII)
MAX_CODE = 20
_BOOLS = {"true": True, "1": True, "false": False, "0": False, "": False}


class QueueRequestError(Exception):
    """Raised for a request that the queue rejects.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@frozen
class Parameters:
    """The parameters of a request: those of the service, whose names begin and end with `_`, and the tags.

    Attributes:
        values: Parameters of the service by name, such as `_index_`.
        tags: All other parameters.
        user: Id of the consumer.
        group: Group of the consumer.
    """

    values: Mapping[str, str]
    tags: Mapping[str, str]
    user: str
    group: str

    @classmethod
    def of(cls, request: ReceivedRequest) -> Parameters:
        """Read the parameters of a request."""
        fields = parse_qsl(request.query, keep_blank_values=True)
        values = {name: value for name, value in fields if _is_ours(name)}
        tags = {name: value for name, value in fields if not _is_ours(name)}
        field = request.headers.get
        user = field(USER_HEADER.lower(), "") or DEFAULT_USER
        return cls(values, tags, user, field(GROUP_HEADER.lower(), "") or DEFAULT_GROUP)

    def flag(self, name: str) -> bool:
        """Return a boolean parameter; false if it is absent."""
        given = self.values.get(name, "false")
        if given.lower() not in _BOOLS:
            raise QueueRequestError(400, f"{name}: expected true or false, got {given[:60]!r}")
        return _BOOLS[given.lower()]

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return a parameter that is a whole number from `low` to `high`; `default` if it is absent."""
        given = self.values.get(name, str(default))
        if re.fullmatch(r"-?[0-9]{1,19}", given) and low <= int(given) <= high:
            return int(given)
        raise QueueRequestError(400, f"{name}: expected a whole number from {low} to {high}, got {given[:60]!r}")

    @property
    def index(self) -> int:
        """The parameter `_index_`; 0 for the head, `NEWEST` for the newest frame."""
        return self.number("_index_", 0, NEWEST, MAX_INDEX)

    @property
    def indexes(self) -> list[int]:
        """The parameter `_indexes_`."""
        given = self.values.get("_indexes_", "")
        if not re.fullmatch(r"[0-9]{1,19}(,[0-9]{1,19})*", given):
            raise QueueRequestError(400, f"_indexes_: expected whole numbers with commas, got {given[:60]!r}")
        return [int(part) for part in given.split(",")]

    @property
    def timeout_s(self) -> float:
        """The parameter `_timeout_`, in seconds."""
        return duration_s(self.values.get("_timeout_", "0s"))

    @property
    def watch(self) -> WatchSettings:
        """The settings of a watch."""
        return WatchSettings(
            self.index,
            self.number("_window_", 1, 1, MAX_WINDOW),
            self.flag("_index_only_"),
            self.flag("_auto_commit_"),
            self.tags,
        )


def _is_ours(name: str) -> bool:
    return len(name) > 1 and name.startswith("_") and name.endswith("_")


def duration_s(text: str) -> float:
    """Parse a duration as Go prints it, such as `1.5s` or `1m30s`; return seconds."""
    parts = _DURATION.findall(text)
    if text != "0" and (not parts or "".join(map("".join, parts)) != text):
        raise QueueRequestError(400, f"_timeout_: expected a duration such as 5s or 1m30s, got {text[:60]!r}")
    return min(sum(float(number) * _UNITS_S[unit] for number, unit in parts), MAX_TIMEOUT_S)


def priority_of(request: ReceivedRequest, parameters: Parameters) -> int:
    """Return the priority of a put, from the header, otherwise from the query, otherwise 0."""
    given = request.headers.get(PRIORITY_HEADER.lower()) or parameters.values.get("_priority_", "0")
    if re.fullmatch(r"[+-]?[0-9]{1,9}", given):
        return int(given)
    raise QueueRequestError(400, f"priority: expected a whole number, got {given[:60]!r}")


def reject_code(body: bytes) -> str:
    """Return the code in the form data of a negative commit; empty for none."""
    code = dict(parse_qsl(body.decode("utf-8", "replace"))).get("_code_", "")
    if code and (len(code) > MAX_CODE or not _CODE.fullmatch(code)):
        raise QueueRequestError(400, f"_code_: expected words such as Shutdown, or digits, got {code[:60]!r}")
    return code


# -- responses


def wants_protobuf(request: ReceivedRequest) -> bool:
    """Return whether the client accepts protobuf."""
    return PROTOBUF in request.headers.get("accept", "")


def put_response(frame: Frame) -> Response:
    """Build the response to a put: the index, and the request id in a header."""
    text = text_response(200, str(frame.index))
    return text._replace(headers={REQUEST_ID_HEADER: _header_value(frame.tags[REQUEST_ID])})


def frames_response(frames: Sequence[Frame], request: ReceivedRequest, *, raw: bool) -> Response:
    """Build the response to a get.

    Returns:
        1. A 204 if there is no frame.
        2. With `raw` the data of the frames, joined.
        3. Protobuf for a client that accepts it.
        4. Otherwise JSON.
    """
    if not frames:
        return Response(204)
    if raw:
        return Response(200, b"".join(frame.data for frame in frames))
    if wants_protobuf(request):
        return Response(200, frame_list_bytes(frames), PROTOBUF)
    return json_response([_frame_json(frame) for frame in frames])


def attributes_response(attributes: Mapping[str, str], request: ReceivedRequest) -> Response:
    """Build the response to a request for the attributes."""
    if wants_protobuf(request):
        return Response(200, attributes_bytes(attributes), PROTOBUF)
    return json_response(attributes)


def position_response(position: Position) -> Response:
    """Build the response to a search."""
    found = {"IsPending": position.is_pending, "WaitCount": position.wait_count}
    return Response(200, json.dumps(found, separators=(",", ":")).encode(), "application/json")


def json_response(value: Any) -> Response:
    """Build a response with a JSON value."""
    return Response(200, json.dumps(value).encode(), "application/json")


def _frame_json(frame: Frame) -> dict[str, Any]:
    return {"index": frame.index, "tags": dict(frame.tags), "data": base64.b64encode(frame.data).decode()}


def _header_value(text: str) -> str:
    """Replace characters that a header field cannot have; the request id may come from a client."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)


def attributes_of(queue: Queue, payload_bytes: int) -> dict[str, str]:
    """Return the attributes of a queue, with the names and the formats of the real service."""
    store, now = queue.store, queue.now
    attributes = {
        "meta.backend": "memory",
        "meta.name": store.name,
        "meta.state": "Ended" if store.has_ended else "Normal",
        "meta.maxPayloadBytes": str(payload_bytes),
        "meta.header.user": USER_HEADER,
        "meta.header.group": GROUP_HEADER,
        "meta.header.priority": PRIORITY_HEADER,
        "stream.length": str(len(store.frames)),
        "stream.approxMaxLength": str(store.max_length),
        "stream.firstEntry": str(next(iter(store.frames), 0)),
        "stream.lastEntry": str(next(reversed(store.frames), 0)),
    }
    consumers = [(group, found) for group in store.groups.values() for found in group.consumers.values()]
    if consumers:
        attributes["consumers.stats.total"] = str(len(consumers))
    for at, (group, found) in enumerate(consumers):
        settings = found.settings
        tags = " ".join(f"{name}={value}" for name, value in settings.tags.items())
        attributes[f"consumers.list.[{at}]"] = (
            f"Id: {group.name}.{found.user}, Index: {found.last_index}, Pending: {len(found.pending)}, "
            f"Status: {found.status(now)}, Idle: {now - found.seen_at:.3f}s, Window: {settings.window}, "
            f"Slots: {found.slots}, AutoCommit: {str(settings.auto_commit).lower()}"
            + (f", Tags: tags[{tags}]" if tags else "")
        )
    attributes |= {f"groups.list.[{at}]": f"Id: {name}" for at, name in enumerate(store.groups)}
    return attributes
