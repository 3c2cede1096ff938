"""The table of fault kinds: where each applies, its attributes with unit and range, and its description.

Validation, the admin API's schema, the command line's help and the documentation are all derived from this table. Names
and units are those of Toxiproxy where Toxiproxy has the fault. The module is independent of active faults and I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

PUT, COMMIT, FRAME = "put", "commit", "frame"
"""The moments of a queue service at which faults apply: a put, a commit, a frame that a watch sends."""
DAY_S = 86_400.0
_DAY_MS = DAY_S * 1000
_TYPES: dict[str, type | tuple[type, ...]] = {"number": (int, float), "integer": int, "string": str, "boolean": bool}


@frozen
class Attribute:
    """One attribute of a fault kind.

    Attributes:
        name: Name in JSON, TOML and Python.
        default: Value when the attribute is absent.
        says: Description, one line.
        type: JSON type: `number`, `integer`, `string` or `boolean`.
        unit: Unit of a number; empty for a number without unit.
        low: Least number, or least length of a string; `None` for no bound.
        high: Greatest number, or greatest length of a string; `None` for no bound.
        choices: All permitted strings; empty for any.
        is_optional: Whether `null` is permitted as well.
    """

    name: str
    default: Any
    says: str
    type: str = "number"
    unit: str = ""
    low: float | None = 0
    high: float | None = None
    choices: tuple[str, ...] = ()
    is_optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is valid for this attribute."""
        if value is None:
            return self.is_optional
        if not isinstance(value, _TYPES[self.type]) or (isinstance(value, bool) and self.type != "boolean"):
            return False
        if self.choices:
            return value in self.choices
        if isinstance(value, str) and value != value.encode("utf-8", "ignore").decode():
            return False  # an unpaired surrogate, which UTF-8 cannot encode, so it cannot be sent in a response
        size: Any = len(value) if isinstance(value, str) else value
        return (self.low is None or self.low <= size) and (self.high is None or size <= self.high)

    @property
    def expected(self) -> str:
        """The valid values in words, such as `a number ≥ 0 and ≤ 100, in milliseconds`."""
        if self.choices:
            text = f"one of {', '.join(self.choices)}"
        elif self.type == "boolean":
            text = "true or false"
        elif self.type == "string":
            text = "a string" if self.high is None else f"a string of at most {self.high:g} characters"
        else:
            text = "a whole number" if self.type == "integer" else "a number"
            bounds = [f"≥ {self.low:.10g}"] if self.low is not None else []
            bounds += [f"≤ {self.high:.10g}"] if self.high is not None else []
            text = " ".join([text, " and ".join(bounds)]).strip() + (f", in {self.unit}" if self.unit else "")
        return f"{text}, or null" if self.is_optional else text

    def schema(self) -> dict[str, Any]:
        """Return the attribute's JSON Schema (2020-12)."""
        found: dict[str, Any] = {"type": [self.type, "null"] if self.is_optional else self.type}
        found |= {"description": self.says + (f" ({self.unit})" if self.unit else ""), "default": self.default}
        if self.choices:
            found["enum"] = list(self.choices)
        elif self.type == "string" and self.high is not None:
            found["maxLength"] = self.high
        elif self.type in ("number", "integer"):
            found |= {"minimum": self.low} if self.low is not None else {}
            found |= {"maximum": self.high} if self.high is not None else {}
        return found


@frozen
class FaultKind:
    """One type of fault.

    Attributes:
        says: Description, one line.
        attributes: The attributes by name.
        queue_moment: For a fault that acts only on queue services, the moment at which it applies: `PUT`, `COMMIT` or
            `FRAME`; empty for other faults.
    """

    says: str
    attributes: Mapping[str, Attribute] = field(factory=dict)
    queue_moment: str = ""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the attributes."""
        properties = {name: attribute.schema() for name, attribute in self.attributes.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}


def _kind(says: str, *attributes: Attribute, at: str = "") -> FaultKind:
    return FaultKind(says, {attribute.name: attribute for attribute in attributes}, at)


def _ms(name: str, default: float, says: str, low: float = 0) -> Attribute:
    return Attribute(name, default, says, unit="milliseconds", low=low, high=_DAY_MS)


def _bytes(name: str, default: int, says: str, low: int = 0, high: int = 2**31) -> Attribute:
    return Attribute(name, default, says, "integer", "bytes", low, high)


def _flag(name: str, says: str, *, default: bool = False) -> Attribute:
    return Attribute(name, default, says, "boolean")


def _choice(name: str, says: str, *choices: str) -> Attribute:
    """Build a string attribute whose first choice is the default."""
    return Attribute(name, choices[0], says, "string", choices=choices)


MALFORMED = (
    "not_http", "bad_status_line", "http_2_version", "no_colon", "folded_header", "two_lengths", "length_and_chunked",
    "bad_chunk_size", "huge_header", "endless_headers", "informational", "switching_protocols", "unsolicited",
    "leading_garbage",
)  # fmt: skip
"""The variants of `malformed_response`; docs/simulator/faults.md describes each."""

_LATENCY = _kind(
    "the response is delayed",
    _ms("latency", 0, "delay"),
    _ms("jitter", 0, "uniform variation around the delay, up or down"),
    _ms("tail", 0, "mean of an additional exponential delay: a few responses are much later"),
    _choice(
        "stream",
        "delayed direction: a request that is delayed is not computed if its client disconnects before",
        "downstream",
        "upstream",
    ),
)
_STATUS = _kind(
    "the response is an error status; the processor does not run",
    Attribute("code", 503, "HTTP status", "integer", low=200, high=599),
    Attribute("body", "", "body of the response", "string", high=2**20),
    Attribute("retry_after", None, "the Retry-After header", unit="seconds", high=DAY_S, is_optional=True),
)
_SILENCE = _kind(
    "the request is not answered, and its connection stays open",
    _ms("timeout", 0, "time until the connection closes; 0 for never"),
)
_BANDWIDTH = _kind(
    "the response is sent slowly",
    Attribute("rate", 10, "bandwidth", unit="KB/s", low=0.001, high=10**7),
)
_SLICER = _kind(
    "the response is sent in small segments",
    _bytes("average_size", 1, "average size of a segment", 1),
    _bytes("size_variation", 0, "uniform variation of the size, up or down"),
    Attribute("delay", 0, "pause between segments", unit="microseconds", high=_DAY_MS * 1000),
)
_LIMIT_DATA = _kind(
    "the connection closes after a number of bytes of the response, head included",
    _bytes("bytes", 100, "number of bytes that are sent"),
    _flag("reset", "end with an RST instead of a FIN"),
)
_TRUNCATE = _kind(
    "200 with a truncated body, and a framing that agrees with the truncated body",
    Attribute(
        "keep",
        None,
        "size of the truncated body; null for half, or the first piece of a streamed body",
        "integer",
        "bytes",
        0,
        2**31,
        is_optional=True,
    ),
)
_GARBLE = _kind(
    "200 with a body in which some bytes, at random positions, are changed",
    _bytes("bytes", 1, "number of changed bytes", 1),
)
_MALFORMED = _kind("the response violates HTTP/1.1", _choice("how", "how it violates HTTP/1.1", *MALFORMED))
_WRONG_LENGTH = _kind(
    "the Content-Length does not agree with the body",
    Attribute("difference", 10, "announced length minus real length", "integer", "bytes", -(2**31), 2**31),
    _flag("close", "whether the connection closes after the body; otherwise it stays open", default=True),
)
_AFTER_BYTES = _bytes("after_bytes", 0, "number of bytes of the body before it")
_ON_THE_WIRE = {
    "bandwidth": _BANDWIDTH,
    "slicer": _SLICER,
    "limit_data": _LIMIT_DATA,
    "truncate_body": _TRUNCATE,
    "garble_body": _GARBLE,
    "malformed_response": _MALFORMED,
    "wrong_content_length": _WRONG_LENGTH,
}

ON_INSTANCES: Mapping[str, FaultKind] = {
    "latency": _LATENCY,
    "timeout": _SILENCE,
    "http_status": _STATUS,
    "reset_peer": _kind(
        "the connection is reset",
        _ms("timeout", 0, "delay after the moment"),
        _choice(
            "at",
            "the moment: the request is complete, its head is complete, half of the response's body is sent (the "
            "first piece of a streamed one), or the accept",
            "request",
            "head",
            "body",
            "accept",
        ),
    ),
    **_ON_THE_WIRE,
    "slow_close": _kind("the response has `Connection: close`, but the FIN is late", _ms("delay", 1000, "delay")),
    "close_idle": _kind(
        "the persistent connection closes while it is idle, without notice",
        _ms("idle", 0, "idle time until it closes"),
        _flag("race", "close when the next request arrives instead, without answering it"),
        _flag("reset", "end with an RST instead of a FIN"),
    ),
    "slow_first_byte": _kind(
        "the response's head is sent immediately, and the first byte of its body late; no effect on an empty body",
        _ms("delay", 1000, "delay"),
    ),
    "stall_stream": _kind(
        "the response stops in the middle of its body, and its connection stays open",
        _AFTER_BYTES,
        _ms("duration", 0, "time until it continues; 0 for never"),
    ),
    "cut_stream": _kind(
        "the connection closes in the middle of the response's body",
        _AFTER_BYTES,
        _flag("reset", "end with an RST instead of a FIN"),
    ),
    "garble_stream": _kind(
        "bytes in the middle of the response's body are changed",
        _AFTER_BYTES,
        _bytes("bytes", 1, "number of changed bytes, for where=body", 1),
        _choice(
            "where",
            "what is changed: the body, or the framing of a chunked one (the next chunk has no size)",
            "body",
            "framing",
        ),
    ),
    "refuse": _kind("new connections are refused; open ones are kept"),
    "slow": _kind(
        "processing takes longer, so workers are busy and the queue fills",
        Attribute("factor", 10, "factor of the processing time", high=10**6),
        _ms("extra", 100, "additional processing time"),
    ),
    "reused": _kind("requests are answered with 404, as if another service had the address now"),
    "full": _kind("a put into a queue is answered with 429, as if the queue were full", at=PUT),
    "delay_commit": _kind(
        "a commit or reject takes effect late, and is answered then; its client may have disconnected before",
        _ms("delay", 1000, "delay"),
        at=COMMIT,
    ),
    "drop_watch": _kind(
        "the connection of a watch closes immediately after a frame",
        _flag("reset", "end with an RST instead of a FIN"),
        at=FRAME,
    ),
    "redeliver": _kind(
        "a frame that a watch has sent, and that is not committed in time, is sent once more to any consumer of its "
        "group",
        # With 0, a frame would be sent again and again in one turn of the reactor.
        _ms("after", 1000, "time within which the frame must be committed", low=1),
        at=FRAME,
    ),
    "duplicate_frame": _kind("a watch sends a frame twice, one after the other", at=FRAME),
}
ON_DISCOVERY: Mapping[str, FaultKind] = {
    "http_status": _STATUS,
    "empty_list": _kind("200 with an empty list"),
    "garbage": _kind(
        "200 with a body that is not JSON, or with `body`",
        Attribute("body", "<html>busy</html>", "body of the response", "string", high=2**20),
    ),
    "stale": _kind("the list as it was when the fault was added"),
    "latency": _LATENCY,
    "timeout": _SILENCE,
    "bad_rows": _kind("the list has invalid rows of every kind beside the valid ones"),
    "zero_weights": _kind(
        "every weight is 0",
        Attribute("weight", 0, "weight to use instead, such as a negative one", low=-(2**31), high=2**31),
    ),
    "duplicates": _kind(
        "every row is repeated with other weights",
        Attribute("copies", 2, "number of copies of each row", "integer", low=2, high=1000),
    ),
    "flapping": _kind(
        "some instances are in one reply and not in the next",
        Attribute("missing", 0.5, "share of the instances that are left out; at least one instance", high=1),
        _ms("period", 0, "time between two changes; 0 for a change with each reply"),
    ),
    "strangers": _kind(
        "a valid list of addresses on which nothing listens, as if the whole fleet were replaced",
        Attribute("rows", 3, "number of rows", "integer", low=1, high=10_000),
    ),
    "huge": _kind("the list is enlarged with padding", _bytes("bytes", 32 * 2**20, "size of the padding", 1, 2**28)),
    "unreachable": _kind("the connection is reset"),
    **_ON_THE_WIRE,
}
