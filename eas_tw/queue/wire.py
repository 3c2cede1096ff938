"""The requests of the queue service: method, query and header lines of each operation, without I/O.

In a query, names that begin and end with `_` are parameters of the service; all others are tags. Names and header lines
are in the order of the official Python SDK, so that recorded requests can be compared byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from attrs import field, frozen

from eas_tw.display import shown
from eas_tw.errors import ConfigError
from eas_tw.net.attempt import WireRequest
from eas_tw.queue.frames import PROTOBUF, REQUEST_ID, Frame
from eas_tw.ranges import Range, checked
from eas_tw.request_builder import check_path

if TYPE_CHECKING:
    from eas_tw.secret import Secret

INDEX = Range(0, 2**64 - 1, whole=True)
INDEX_OR_LAST = Range(-1, 2**64 - 1, whole=True)
_PRIORITY = Range(0, 2**31 - 1, whole=True)
_LENGTH = Range(1, 2**31 - 1, whole=True)
_SECONDS = Range(0, 1e9)
_FORM = "application/x-www-form-urlencoded"
_MOST_CODE_CHARS = 20
_CODE = re.compile(r"[A-Za-z0-9.]+")

USER_HEADER, GROUP_HEADER = "X-EAS-QueueService-Redis-Uid", "X-EAS-QueueService-Redis-Gid"
"""The names of the identity headers, unless the attributes of the queue set other names."""
REQUEST_ID_HEADER = "x-eas-queueservice-request-id"
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header: a token (RFC 9110 §5.1, §5.6.2)."""
_TAKEN = frozenset(
    {
        "accept", "authorization", "connection", "content-length", "content-type", "expect", "host", "te",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Names that a queue's attributes cannot set, because the protocol or the client uses them."""
_NAMES_USER, _NAMES_GROUP, _NAMES_PRIORITY = "meta.header.user", "meta.header.group", "meta.header.priority"


@frozen
class HeaderNames:
    """The names of the headers that a queue service reads; the attributes of the queue may set them.

    Attributes:
        user: The name of the header for the user's id.
        group: The name of the header for the group.
        priority: The name of the header for the priority of a put; empty if the service has no priorities.
    """

    user: str = USER_HEADER
    group: str = GROUP_HEADER
    priority: str = ""

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, str]) -> HeaderNames:
        """Return the names from a queue's attributes, and the default for each name that is missing or invalid."""

        def named(attribute: str, usual: str) -> str:
            name = attributes.get(attribute, "")
            is_usable = _FIELD_NAME.fullmatch(name) and name.lower() not in _TAKEN
            return name if is_usable and not name.lower().startswith("sec-websocket-") else usual

        return cls(named(_NAMES_USER, USER_HEADER), named(_NAMES_GROUP, GROUP_HEADER), named(_NAMES_PRIORITY, ""))


@frozen
class Identity:
    """The user and the group that a client sends to the queue service.

    Attributes:
        user: The id of the consumer; it must be unique.
        group: The group. The service sends each frame to every group, and in each group to one consumer.
    """

    user: str
    group: str


@frozen
class QueueRequest:
    """The request of an operation, without token and identity.

    Attributes:
        method: The HTTP method.
        query: The encoded query, without `?`; empty for none.
        path: The path relative to the queue's path, beginning with a slash; empty for none.
        body: The body; empty for none.
        form: Whether the body is a form (`application/x-www-form-urlencoded`).
        takes_protobuf: Whether to request a protobuf response.
        priority: The priority of a put; 0 for the normal priority.
    """

    method: str
    query: str = ""
    path: str = ""
    body: bytes = field(default=b"", repr=False)
    form: bool = False
    takes_protobuf: bool = False
    priority: int = 0

    def target(self, base: str) -> str:
        """Return path and query, for a queue whose path is `base`."""
        return base + self.path + (f"?{self.query}" if self.query else "")

    def on_wire(
        self,
        base: str,
        token: Secret,
        identity: Identity,
        names: HeaderNames = HeaderNames(),
        extra: Mapping[str, str] | None = None,
    ) -> WireRequest:
        """Render the request.

        Args:
            base: The queue's path, such as `/api/predict/qservice`.
            token: The token, which is sent unchanged, because the queue service does not support signatures.
            identity: The user and the group.
            names: The names of the headers for identity and priority.
            extra: Further headers of the client; `None` for none.
        """
        lines = self.header_lines(token, identity, names, extra)
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines).encode("ascii")
        return WireRequest(self.method.encode("ascii"), self.target(base).encode("ascii"), fields, self.body)

    def header_lines(
        self, token: Secret, identity: Identity, names: HeaderNames, extra: Mapping[str, str] | None = None
    ) -> list[tuple[str, str]]:
        """Return names and values of the header lines, without Host; see `on_wire` for the arguments."""
        lines: list[tuple[str, str]] = []
        if self.method in ("POST", "PUT"):  # also for an empty body (RFC 9110 §8.6)
            lines.append(("Content-Length", str(len(self.body))))
        if self.form:
            lines.append(("Content-Type", _FORM))
        if token:
            lines.append(("Authorization", token.reveal()))
        lines += [(names.user, identity.user), (names.group, identity.group)]
        if self.priority and names.priority:
            lines.append((names.priority, str(self.priority)))
        if self.takes_protobuf:
            lines.append(("Accept", PROTOBUF))
        own = {name.lower() for name, _ in lines}
        return lines + [(name, value) for name, value in (extra or {}).items() if name.lower() not in own]


def attributes_request() -> QueueRequest:
    """Return the request for the attributes; the response is a JSON object."""
    return QueueRequest("GET", "_attrs_=true")


def put_request(data: bytes, tags: Mapping[str, str], priority: int, path: str) -> QueueRequest:
    """Return the request that puts a frame.

    Args:
        data: The frame's data.
        tags: The frame's tags.
        priority: 0 for the normal priority; a greater number for a higher priority.
        path: A path relative to the queue's path, percent-encoded; empty for none.

    Raises:
        ConfigError: An argument is wrong.
    """
    return QueueRequest(
        "POST", _query({}, tags), check_path(path), data, priority=checked(_PRIORITY, "priority", priority)
    )


def get_request(
    index: int, length: int, timeout_s: float, tags: Mapping[str, str], request_id: str | None, *, auto_delete: bool
) -> QueueRequest:
    """Return the request that gets frames.

    Args:
        index: The index of the first frame; 0 for the head of the queue, -1 for its newest frame.
        length: The maximum number of frames, ≥ 1.
        timeout_s: The time for which the service waits for a frame, in seconds, ≥ 0.
        tags: The tags that the frames must have.
        request_id: The request id that the frame must have; `None` for any.
        auto_delete: Whether the service deletes the frames that it sends.

    Raises:
        ConfigError: An argument is wrong.
    """
    wanted = tags if request_id is None else {**_checked_tags(tags), REQUEST_ID: request_id}
    own = {
        "_index_": checked(INDEX_OR_LAST, "index", index),
        "_length_": checked(_LENGTH, "length", length),
        "_timeout_": go_duration(timeout_s),
        "_raw_": "false",
        "_auto_delete_": _boolean(auto_delete),
    }
    return QueueRequest("GET", _query(own, wanted), takes_protobuf=True)


def watch_request(
    index: int, window: int, tags: Mapping[str, str], *, index_only: bool, auto_commit: bool
) -> QueueRequest:
    """Return the request that starts a watch, over WebSocket or plain HTTP.

    Args:
        index: The index of the first frame; 0 for the head of the queue, -1 for its newest frame.
        window: The maximum number of frames that were sent and are neither committed nor rejected, ≥ 1.
        tags: The tags that the frames must have.
        index_only: Whether frames are sent without data.
        auto_commit: Whether the service commits the frames that it sends; `window` then has no effect.

    Raises:
        ConfigError: An argument is wrong.
    """
    own = {
        "_watch_": "true",
        "_index_": checked(INDEX_OR_LAST, "index", index),
        "_window_": checked(_LENGTH, "window", window),
        "_index_only_": _boolean(index_only),
        "_auto_commit_": _boolean(auto_commit),
    }
    return QueueRequest("GET", _query(own, tags), takes_protobuf=True)


def search_request(index: int) -> QueueRequest:
    """Return the request for the position of a frame."""
    return QueueRequest("GET", _query({"_search_": "true", "_index_": checked(INDEX, "index", index)}))


def count_request(priority: int | None, tags: Mapping[str, str]) -> QueueRequest:
    """Return the request for the number of frames that have a priority (`None` for any) and tags."""
    own = {"_count_": "true"}
    if priority is not None:
        own["_priority_"] = str(checked(_PRIORITY, "priority", priority))
    return QueueRequest("GET", _query(own, tags))


def delete_request(indexes: tuple[int, ...]) -> QueueRequest:
    """Return the request that deletes frames, for all groups."""
    return QueueRequest("DELETE", _query({"_indexes_": _list(indexes)}))


def truncate_request(index: int) -> QueueRequest:
    """Return the request that deletes every frame whose index is less than `index`."""
    return QueueRequest("DELETE", _query({"_index_": checked(INDEX, "index", index), "_trunc_": "true"}))


def commit_request(indexes: tuple[int, ...]) -> QueueRequest:
    """Return the request that commits frames for the client's group."""
    return QueueRequest("PUT", _query({"_indexes_": _list(indexes)}))


def reject_request(indexes: tuple[int, ...], code: str, reason: str) -> QueueRequest:
    """Return the request that rejects frames (a negative commit), so that another consumer gets them.

    Args:
        indexes: The indexes of the frames.
        code: A machine-readable reason, 1 to 20 letters, digits and dots, such as `Shutdown`.
        reason: A human-readable reason.

    Raises:
        ConfigError: Code or reason is invalid.
    """
    if not isinstance(code, str) or len(code) > _MOST_CODE_CHARS or not _CODE.fullmatch(code):
        raise ConfigError(f"code must be 1 to {_MOST_CODE_CHARS} letters, digits and dots, got {shown(code)}")
    if not isinstance(reason, str):
        raise ConfigError(f"reason must be text, got {shown(reason)}")
    body = urlencode({"_code_": code, "_reason_": reason}).encode("ascii")
    return QueueRequest("PUT", _query({"_indexes_": _list(indexes), "_negative_": "true"}), body=body, form=True)


def end_request(*, force: bool) -> QueueRequest:
    """Return the request that ends the stream; with `force`, even if frames are not committed."""
    return QueueRequest("POST", _query({"_eos_": "true", **({"_force_": "true"} if force else {})}))


def as_indexes(given: int | Frame | Iterable[int | Frame]) -> tuple[int, ...]:
    """Return the indexes of frames.

    Args:
        given: An index, a frame, or an iterable of these.

    Raises:
        ConfigError: The argument has another type, or an index is out of range.
    """
    several = given if isinstance(given, Iterable) and not isinstance(given, str | bytes) else (given,)
    return tuple(checked(INDEX, "index", one.index if isinstance(one, Frame) else one) for one in several)


def go_duration(seconds: float) -> str:
    """Return a duration in the format of Go, such as `3s` or `1.5s`, because the service is written in Go."""
    checked(_SECONDS, "timeout_s", seconds)
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def check_identity(user: str, group: str) -> Identity:
    """Return the identity of a user and a group.

    Raises:
        ConfigError: User or group cannot be sent in a header.
    """
    for name, value in (("user", user), ("group", group)):
        if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
            raise ConfigError(f"{name} must be visible ASCII without spaces, got {shown(value)}")
    return Identity(user, group)


def _query(own: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> str:
    tags = {} if tags is None else _checked_tags(tags)
    for name, value in tags.items():
        if not isinstance(name, str) or not name or name.startswith("_"):
            raise ConfigError(f"a tag's name must be text that does not begin with _, got {shown(name)}")
        if not isinstance(value, str | int | float):
            raise ConfigError(f"tag {name} must be text, got {shown(value)}")
    try:
        return urlencode({**own, **tags})
    except UnicodeEncodeError as error:
        raise ConfigError(f"tags must be text that UTF-8 can carry: {error}") from None


def _checked_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(tags, Mapping):
        raise ConfigError(f"tags must be a mapping of names to values, got {shown(tags)}")
    return tags


def _list(indexes: tuple[int, ...]) -> str:
    return ",".join(map(str, indexes))


def _boolean(value: object) -> str:
    try:
        return "true" if value else "false"
    except Exception as error:  # `__bool__` of an array or of a program's object may raise
        raise ConfigError(f"a flag must be True or False, got {shown(value)}") from error
