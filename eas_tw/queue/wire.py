"""The requests of the queue service: method, query and header lines of each operation, without input and output.

Names in a query that begin and end with `_` are parameters of the service, all others are tags. The order of names and
of header lines is that of the official Python SDK, so that recorded requests can be compared byte by byte.
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
"""The default names of the identity headers, if the attributes of the service set no others."""
REQUEST_ID_HEADER = "x-eas-queueservice-request-id"
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110 §5.1)."""
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
    """The names of the headers that a queue service reads, which its attributes may set.

    Attributes:
        user: The name of the header with the user's id.
        group: The name of the header with the group.
        priority: The name of the header with the priority of a put; empty if the service takes none.
    """

    user: str = USER_HEADER
    group: str = GROUP_HEADER
    priority: str = ""

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, str]) -> HeaderNames:
        """Return the names that a queue's attributes set, and the default for each missing or wrong one."""

        def named(attribute: str, usual: str) -> str:
            name = attributes.get(attribute, "")
            is_usable = _FIELD_NAME.fullmatch(name) and name.lower() not in _TAKEN
            return name if is_usable and not name.lower().startswith("sec-websocket-") else usual

        return cls(named(_NAMES_USER, USER_HEADER), named(_NAMES_GROUP, GROUP_HEADER), named(_NAMES_PRIORITY, ""))


@frozen
class Identity:
    """Who the client is to the queue service.

    Attributes:
        user: The user's id, different for each consumer.
        group: The group: each frame goes to one consumer of a group, and to every group.
    """

    user: str
    group: str


@frozen
class QueueRequest:
    """One operation, without credentials and identity.

    Attributes:
        method: The HTTP method.
        query: The encoded query, without `?`; empty for none.
        path: The path below the queue's path, with a slash in front; empty for none.
        body: The body.
        form: Whether the body is a form.
        takes_protobuf: Whether the response shall be protobuf.
        priority: The priority of a put; 0 for the normal one.
    """

    method: str
    query: str = ""
    path: str = ""
    body: bytes = field(default=b"", repr=False)
    form: bool = False
    takes_protobuf: bool = False
    priority: int = 0

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
            token: The token, which is sent as it is: the queue service takes no signature.
            identity: The user and the group, sent in the headers that `names` has.
            names: The names of headers.
            extra: Further headers of the client; `None` for none.
        """
        target = base + self.path + (f"?{self.query}" if self.query else "")
        lines = self.header_lines(token, identity, names, extra)
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines)
        return WireRequest(self.method.encode("ascii"), target.encode("ascii"), fields.encode("ascii"), self.body)

    def header_lines(
        self, token: Secret, identity: Identity, names: HeaderNames, extra: Mapping[str, str] | None = None
    ) -> list[tuple[str, str]]:
        """Return names and values of the header lines, without Host."""
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
        priority: 0 for the normal priority, more for a higher one.
        path: A path below the queue's path, percent-encoded; empty for none.

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
        timeout_s: How long the service waits for the first frame, ≥ 0.
        tags: Only frames with these tags.
        request_id: Only the frame of this request; `None` for any.
        auto_delete: Whether the service deletes what it sends.
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
    """Return the request that begins a watch, over WebSocket or plain HTTP.

    Args:
        index: The index of the first frame; 0 for the head of the queue.
        window: The maximum number of frames that are sent and not committed, ≥ 1.
        tags: Only frames with these tags.
        index_only: Whether frames come without data.
        auto_commit: Whether the service commits what it sends; `window` has no effect then.
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
    """Return the request for the place of a frame."""
    return QueueRequest("GET", _query({"_search_": "true", "_index_": checked(INDEX, "index", index)}))


def count_request(priority: int | None, tags: Mapping[str, str]) -> QueueRequest:
    """Return the request for the number of frames, of one priority and with these tags; `None` for any priority."""
    own = {"_count_": "true"}
    if priority is not None:
        own["_priority_"] = str(checked(_PRIORITY, "priority", priority))
    return QueueRequest("GET", _query(own, tags))


def delete_request(indexes: tuple[int, ...]) -> QueueRequest:
    """Return the request that deletes frames, for all groups."""
    return QueueRequest("DELETE", _query({"_indexes_": _list(indexes)}))


def truncate_request(index: int) -> QueueRequest:
    """Return the request that deletes every frame with a smaller index."""
    return QueueRequest("DELETE", _query({"_index_": checked(INDEX, "index", index), "_trunc_": "true"}))


def commit_request(indexes: tuple[int, ...]) -> QueueRequest:
    """Return the request that commits frames for the client's group."""
    return QueueRequest("PUT", _query({"_indexes_": _list(indexes)}))


def reject_request(indexes: tuple[int, ...], code: str, reason: str) -> QueueRequest:
    """Return the request that commits frames negatively, so that another consumer gets them.

    Args:
        indexes: The frames.
        code: The reason for programs, at most 20 letters, digits and dots, such as `Shutdown`.
        reason: The reason for people.
    """
    if not isinstance(code, str) or len(code) > _MOST_CODE_CHARS or not _CODE.fullmatch(code):
        raise ConfigError(f"code must be 1 to {_MOST_CODE_CHARS} letters, digits and dots, got {shown(code)}")
    if not isinstance(reason, str):
        raise ConfigError(f"reason must be text, got {shown(reason)}")
    body = urlencode({"_code_": code, "_reason_": reason}).encode("ascii")
    return QueueRequest("PUT", _query({"_indexes_": _list(indexes), "_negative_": "true"}), body=body, form=True)


def end_request(*, force: bool) -> QueueRequest:
    """Return the request that ends the stream; with `force`, before all frames are committed."""
    return QueueRequest("POST", _query({"_eos_": "true", **({"_force_": "true"} if force else {})}))


def as_indexes(given: int | Frame | Iterable[int | Frame]) -> tuple[int, ...]:
    """Return the indexes that a caller named by numbers or frames.

    Raises:
        ConfigError: It is neither an index, a frame, nor several of these.
    """
    several = given if isinstance(given, Iterable) and not isinstance(given, str | bytes) else (given,)
    return tuple(checked(INDEX, "index", one.index if isinstance(one, Frame) else one) for one in several)


def go_duration(seconds: float) -> str:
    """Return a duration as the service, which is written in Go, reads it, such as `3s` or `1.5s`."""
    checked(_SECONDS, "timeout_s", seconds)
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def check_identity(user: str, group: str) -> Identity:
    """Return the identity, or raise `ConfigError` if a header cannot carry it."""
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
    except Exception as error:  # an array, or an object of a program's own
        raise ConfigError(f"a flag must be True or False, got {shown(value)}") from error
