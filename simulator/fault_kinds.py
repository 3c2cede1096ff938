"""The table of fault kinds: where each applies, its attributes with unit and range, and its description.

Validation, the admin API's schema, the command line's help and the documentation are all derived from this table. Names
and units are those of Toxiproxy where Toxiproxy has the fault. Does not know active faults or sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        """Whether `value` is valid for this attribute."""
        if value is None:
            return self.is_optional
        if not isinstance(value, _TYPES[self.type]) or (isinstance(value, bool) and self.type != "boolean"):
            return False
        if self.choices:
            return value in self.choices
        if isinstance(value, str) and value != value.encode("utf-8", "ignore").decode():
            return False  # an unpaired surrogate, which UTF-8 cannot encode, so no response could carry it
        size: Any = len(value) if isinstance(value, str) else value
        return (self.low is None or self.low <= size) and (self.high is None or size <= self.high)

    @property
    def expected(self) -> str:
        """Describe the valid values in words: `a number ≥ 0 and ≤ 100, in milliseconds`."""
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
    """

    says: str
    attributes: Mapping[str, Attribute] = field(factory=dict)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the attributes."""
        properties = {name: attribute.schema() for name, attribute in self.attributes.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}


def _kind(says: str, *attributes: Attribute) -> FaultKind:
    return FaultKind(says, {attribute.name: attribute for attribute in attributes})


def _ms(name: str, default: float, says: str) -> Attribute:
    return Attribute(name, default, says, unit="milliseconds", high=_DAY_MS)


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
    "the answer comes later",
    _ms("latency", 0, "by this much"),
    _ms("jitter", 0, "and up to this much more or less, evenly"),
    _ms("tail", 0, "and by an exponential delay of this mean: a few are much later"),
    _choice(
        "stream",
        "which direction is slow: a request that is late on its way in is not computed when its client leaves",
        "downstream",
        "upstream",
    ),
)
_STATUS = _kind(
    "the answer is this status; nothing is computed",
    Attribute("code", 503, "HTTP status", "integer", low=200, high=599),
    Attribute("body", "", "the answer's body", "string", high=2**20),
    Attribute("retry_after", None, "the Retry-After header", unit="seconds", high=DAY_S, is_optional=True),
)
_SILENCE = _kind(
    "the request is swallowed, and its connection stays open and silent",
    _ms("timeout", 0, "the connection closes after this; 0 for never"),
)
_BANDWIDTH = _kind(
    "the answer's bytes trickle",
    Attribute("rate", 10, "how fast", unit="KB/s", low=0.001, high=10**7),
)
_SLICER = _kind(
    "the answer's bytes come in small segments",
    _bytes("average_size", 1, "of a segment", 1),
    _bytes("size_variation", 0, "up to this much more or less, evenly"),
    Attribute("delay", 0, "pause between segments", unit="microseconds", high=_DAY_MS * 1000),
)
_LIMIT_DATA = _kind(
    "the connection closes after so many bytes of the answer, its head included",
    _bytes("bytes", 100, "that still come"),
    _flag("reset", "end with an RST instead of a FIN"),
)
_TRUNCATE = _kind(
    "200 with a body that is cut short, and a framing that agrees with what is left",
    Attribute(
        "keep",
        None,
        "how much is left; null for half, or the first piece of a streamed body",
        "integer",
        "bytes",
        0,
        2**31,
        is_optional=True,
    ),
)
_GARBLE = _kind(
    "200 with a body in which some bytes are others, at random places",
    _bytes("bytes", 1, "that are changed", 1),
)
_MALFORMED = _kind("the answer breaks HTTP/1.1", _choice("how", "which rule is broken", *MALFORMED))
_WRONG_LENGTH = _kind(
    "the Content-Length does not agree with the body",
    Attribute("difference", 10, "promised length minus real length", "integer", "bytes", -(2**31), 2**31),
    _flag("close", "whether the connection closes after the body; else it stays open and silent", default=True),
)
_AFTER_BYTES = _bytes("after_bytes", 0, "of the body that come before")
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
        _ms("timeout", 0, "this long after the moment"),
        _choice(
            "at",
            "the moment: the whole request is there, its head is, half of the answer's body is out (the first piece of "
            "a streamed one), or the accept",
            "request",
            "head",
            "body",
            "accept",
        ),
    ),
    **_ON_THE_WIRE,
    "slow_close": _kind(
        "the answer announces `Connection: close`, but the FIN is late", _ms("delay", 1000, "by this much")
    ),
    "close_idle": _kind(
        "the kept connection closes while it is idle, unannounced",
        _ms("idle", 0, "after this long without a request"),
        _flag("race", "close when the next request arrives instead, and leave it unanswered"),
        _flag("reset", "end with an RST instead of a FIN"),
    ),
    "slow_first_byte": _kind(
        "the answer's head comes at once, and the first byte of its body late", _ms("delay", 1000, "by this much")
    ),
    "stall_stream": _kind(
        "the answer stops in the middle of its body, and its connection stays open",
        _AFTER_BYTES,
        _ms("duration", 0, "it goes on after this; 0 for never"),
    ),
    "cut_stream": _kind(
        "the connection closes in the middle of the answer's body",
        _AFTER_BYTES,
        _flag("reset", "end with an RST instead of a FIN"),
    ),
    "garble_stream": _kind(
        "bytes in the middle of the answer's body are others",
        _AFTER_BYTES,
        _bytes("bytes", 1, "that are changed, where=body", 1),
        _choice(
            "where",
            "what is changed: the body, or the framing of a chunked one (the next chunk has no size)",
            "body",
            "framing",
        ),
    ),
    "refuse": _kind("new connections are refused; open ones live on"),
    "slow": _kind(
        "computing takes longer, so workers are busy and the queue fills",
        Attribute("factor", 10, "times as long", high=10**6),
        _ms("extra", 100, "and this much more"),
    ),
    "reused": _kind("the address belongs to another service now: 404"),
}
ON_DISCOVERY: Mapping[str, FaultKind] = {
    "http_status": _STATUS,
    "empty_list": _kind("200 with a list of nobody"),
    "garbage": _kind(
        "200 with a body that is not JSON, or with `body`",
        Attribute("body", "<html>busy</html>", "the answer's body", "string", high=2**20),
    ),
    "stale": _kind("the list as it was when the fault was made"),
    "latency": _LATENCY,
    "timeout": _SILENCE,
    "bad_rows": _kind("rows of every wrong kind among the good ones"),
    "zero_weights": _kind(
        "every weight is 0", Attribute("weight", 0, "or this, such as a negative one", low=-(2**31), high=2**31)
    ),
    "duplicates": _kind(
        "every row several times, with other weights",
        Attribute("copies", 2, "of each row", "integer", low=2, high=1000),
    ),
    "flapping": _kind(
        "some instances are in one reply and not in the next",
        Attribute("missing", 0.5, "share of the instances that come and go; at least one does", high=1),
        _ms("period", 0, "between two changes; 0 for a change with each reply"),
    ),
    "strangers": _kind(
        "a good list of addresses where nobody listens, as if the whole fleet were replaced",
        Attribute("rows", 3, "how many", "integer", low=1, high=10_000),
    ),
    "huge": _kind("the good list, and padding", _bytes("bytes", 32 * 2**20, "of padding", 1, 2**28)),
    "unreachable": _kind("the connection is reset"),
    **_ON_THE_WIRE,
}
