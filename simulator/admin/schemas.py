"""JSON Schemas (2020-12) of the admin API's requests and responses.

Named schemas are components of the OpenAPI document. The schemas of rows, states, faults and processors are derived
from the classes themselves, so that the document cannot disagree with the code.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from simulator import faults
from simulator.captures import MAX_BODY_BYTES
from simulator.durations import MAX_S
from simulator.fault_registry import Activation
from simulator.instance import State
from simulator.journal import FIELDS, Row
from simulator.processors import BUILT_IN
from simulator.queues.frames import ConsumerStatus
from simulator.queues.queue import PAYLOAD_BYTES
from simulator.queues.store import MAX_LENGTH
from simulator.replies import Reply
from simulator.service_spec import (
    GATEWAY_MODES,
    KEEPALIVE_S,
    LLM_KEEPALIVE_S,
    LLM_WORKERS,
    MAX_FRAMES,
    MAX_PAYLOAD_BYTES,
    MAX_QUEUE,
    MAX_RATE,
    MAX_WORKERS,
    QUEUE,
    WORKERS,
)
from simulator.stubs import MAX_DELAY_S, MAX_RESPONSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.fault_kinds import Attribute

Schema = dict[str, Any]
MAX_WEIGHT = 2**31 - 1
MAX_NEW_INSTANCES = 1000
_TYPES = {str: "string", int: "integer", float: "number"}


def text(says: str, **more: Any) -> Schema:
    """Build the schema of a string."""
    return {"type": "string", "description": says, **more}


def whole(says: str, **more: Any) -> Schema:
    """Build the schema of an integer ≥ 0."""
    return {"type": "integer", "description": says, "minimum": 0, **more}


def flag(says: str) -> Schema:
    """Build the schema of a boolean."""
    return {"type": "boolean", "description": says}


def listed(says: str, items: Schema) -> Schema:
    """Build the schema of a list."""
    return {"type": "array", "description": says, "items": items}


def shape(says: str, properties: Mapping[str, Any], *, required: bool = True, **more: Any) -> Schema:
    """Build the schema of an object with exactly these properties; `required` applies to all of them."""
    found = {"type": "object", "description": says, "properties": dict(properties), "additionalProperties": False}
    return found | ({"required": list(properties)} if required else {}) | more


def ref(name: str) -> Schema:
    """Build a reference to a named component."""
    return {"$ref": f"#/components/schemas/{name}"}


def collection(name: str, component: str, **more: Any) -> Schema:
    """Build the schema of `{"<name>": [...]}`."""
    return shape(f"All {name.replace('_', ' ')}", {name: listed("In order", ref(component)), **more})


def _said(value: type) -> dict[str, str]:
    """Read the description of each attribute from the docstring of an attrs class."""
    lines = (inspect.getdoc(value) or "").partition("Attributes:\n")[2].splitlines()
    return {name.strip(): says.strip() for name, _, says in (line.partition(":") for line in lines)}


def _values(kind: type, types: Mapping[str, type], **more: Any) -> Schema:
    said = _said(kind)
    return shape(
        (inspect.getdoc(kind) or "").partition("\n")[0],
        more | {name: {"type": _TYPES[type_], "description": said[name]} for name, type_ in types.items()},
    )


def _with_content(row: Schema) -> Schema:
    """Add the properties that a row has only when its content is requested."""
    message: Schema = {
        "type": ["object", "null"],
        "description": "Headers and body; null when none was sent whole",
        "properties": {
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body_bytes": whole("Size of the whole body"),
            "body": text("As much as was kept, where it is UTF-8"),
            "body_base64": text("Otherwise, in base64"),
        },
    }
    row["properties"]["content"] = {
        "type": ["object", "null"],
        "description": "With `content=1`: what was kept; null when nothing was",
        "properties": {"request": message, "response": message},
    }
    return row


WEIGHT: Schema = {
    "type": "number",
    "description": "Weight in the list of discovery; 0 gets no requests",
    "minimum": 0,
    "maximum": MAX_WEIGHT,
}
STATE = text("State; it does not change the list of discovery", enum=[state.value for state in State])
REGISTERED = flag("Whether discovery lists it")
GATEWAY = text(
    "What the gateway does when an instance refuses: fail (502), retry (try the others), avoid (leave it out)",
    enum=list(GATEWAY_MODES),
)
MATCHER = {
    "type": "object",
    "description": "Fields of a row, each with the value it must have; none matches every row",
    "properties": {name: {"type": _TYPES[type_]} for name, type_ in FIELDS.items()},
    "additionalProperties": False,
}
PATCH_INSTANCE = shape(
    "What is to change", {"weight": WEIGHT, "state": STATE, "registered": REGISTERED}, required=False, minProperties=1
)
PATCH_SERVICE = shape("What is to change", {"gateway": GATEWAY}, required=False, minProperties=1)
NEW_INSTANCE = shape(
    "How it begins",
    {"weight": WEIGHT | {"default": 100}, "registered": REGISTERED | {"default": True}},
    required=False,
)
RESET = shape(
    "How to begin again",
    {"seed": {"type": ["integer", "null"], "description": "Of every random draw; the last one when not given"}},
    required=False,
)
_LLM = r"llm:[a-z_]+=[A-Za-z0-9_.:|*/-]+(,[A-Za-z0-9_.:|*/=-]+)*"
NEW_SERVICE = shape(
    "A service to simulate",
    {
        "name": text("`service` or `group/service`", pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", maxLength=200),
        "instances": whole("How many", maximum=MAX_NEW_INSTANCES, default=3),
        "weights": listed("Of the first, second, … instance; 100 for those not named", WEIGHT),
        "token": text("What callers must know; empty for nothing", maxLength=1000, default=""),
        "processor": text(
            f"What instances compute: {', '.join(BUILT_IN)}, sleep:SECONDS, llm:SETTINGS; "
            "empty for what suits the name",
            pattern="^(" + "|".join([*BUILT_IN, r"sleep:[0-9]{1,3}(\.[0-9]{1,6})?", _LLM]) + ")?$",
            default="",
            **{"x-expected": f"one of {', '.join(BUILT_IN)}, sleep:SECONDS, llm:SETTINGS, or nothing"},
        ),
        "workers": whole(
            f"Requests computed at a time; {LLM_WORKERS} when not given with the processor llm",
            minimum=1,
            maximum=MAX_WORKERS,
            default=WORKERS,
        ),
        "queue": whole("Requests that wait; then 450", maximum=MAX_QUEUE, default=QUEUE),
        "processing": {
            "type": ["number", "string"],
            "description": "How long a worker takes: seconds, or drawn, such as lognormal:0.02,0.5 (median, p99)",
            "minimum": 0,
            "maximum": MAX_S,
            "default": 0,
        },
        "keepalive_s": {
            "type": "number",
            "description": f"Then 408; 0 for never; {LLM_KEEPALIVE_S:g} when not given with the processor llm",
            "minimum": 0,
            "maximum": 86_400,
            "default": KEEPALIVE_S,
        },
        "rate_limit": {
            "type": ["number", "null"],
            "description": "Requests a second an instance takes; then 429",
            "minimum": 0.001,
            "maximum": MAX_RATE,
        },
        "capture_bytes": {
            "type": ["integer", "null"],
            "description": "Bytes of each body that the journal keeps, with the headers; null for neither",
            "minimum": 0,
            "maximum": MAX_BODY_BYTES,
        },
        "zones": listed("Availability zones; instances are dealt out to them in turn", text("A name", minLength=1)),
        "gateway": GATEWAY | {"default": "fail"},
        "queue_service": flag("Whether requests go to an input queue, and results to the queue /sink")
        | {"default": False},
        "queue_workers": flag("Whether the instances of a queue service take frames and compute") | {"default": True},
        "input_length": whole("Frames of the input queue; then 429", minimum=1, maximum=MAX_FRAMES, default=MAX_LENGTH),
        "sink_length": whole(
            "Frames of the sink; then workers wait", minimum=1, maximum=MAX_FRAMES, default=MAX_LENGTH
        ),
        "max_payload_bytes": whole(
            "Payload of a frame; then 413", minimum=1, maximum=MAX_PAYLOAD_BYTES, default=PAYLOAD_BYTES
        ),
    },
) | {"required": ["name"]}
_ANY: Schema = {"description": "A JSON value"}
_HEADERS: Schema = {"type": "object", "description": "Header fields", "additionalProperties": {"type": "string"}}
_BODY = text("As text (UTF-8)")
_BODY_BASE64 = text("In base64", pattern=r"^[A-Za-z0-9+/]*={0,2}$")
NEW_STUB = shape(
    "Canned responses for matching requests",
    {
        "name": text("Unique in the service; made up when not given", maxLength=200),
        "request": shape(
            "Which requests: those that have all of this",
            {
                "method": text("HTTP method"),
                "path": text("Below the service's own path, such as /v1/models"),
                "query": _HEADERS | {"description": "Fields of the query"},
                "headers": _HEADERS,
                "body": _BODY,
                "body_base64": _BODY_BASE64,
                "contains": text("What the body contains"),
                "json": _ANY,
            },
            required=False,
        ),
        "responses": listed(
            "One after the other; the last again and again",
            shape(
                "A response",
                {
                    "status": whole("HTTP status", minimum=200, maximum=599, default=200),
                    "headers": _HEADERS,
                    "content_type": text("Of the body"),
                    "body": _BODY,
                    "body_base64": _BODY_BASE64,
                    "json": _ANY,
                    "delay_s": {
                        "type": "number",
                        "description": "Seconds before it is sent",
                        "minimum": 0,
                        "maximum": MAX_DELAY_S,
                    },
                    "forward": text(
                        "URL on 127.0.0.1 of a program that answers instead",
                        pattern=r"^(http://(127\.0\.0\.1|\[::1\]):.*)?$",
                    ),
                },
                required=False,
            ),
        )
        | {"minItems": 1, "maxItems": MAX_RESPONSES},
        "times": {"type": ["integer", "null"], "description": "Requests it answers at most", "minimum": 1},
    },
    required=False,
)
NEW_FAULT = faults.schema()

_PLACE = {
    "service": text("A service's name"),
    "instance": text("An instance's id"),
    "zone": text("A zone's name"),
    "discovery": flag("Whether it strikes discovery"),
}
_ATTRIBUTE = shape(
    "One attribute of a type of fault",
    {
        "name": text("As in `attributes`"),
        "says": text("One line for people"),
        "type": text("JSON's", enum=["number", "integer", "string", "boolean"]),
        "default": {"description": "What it is when it is not given"},
        "unit": text("Of a number; empty for a bare one"),
        "low": {"type": ["number", "null"], "description": "The least"},
        "high": {"type": ["number", "null"], "description": "The greatest"},
        "choices": listed("All it may be; empty for any", {"type": "string"}),
        "is_optional": flag("Whether null is allowed too"),
    },
)
_REPLY_TYPES = {"at": float, "service": str, "path": str, "answer": str, "status": int, "body": str, "body_bytes": int}

_CONSUMER = shape(
    "A consumer",
    {
        "user": text("Its id"),
        "status": text("As in the attributes of the queue", enum=[status.value for status in ConsumerStatus]),
        "pending": whole("Frames that it has without a commit"),
        "window": whole("Frames that it may have without a commit"),
        "auto_commit": flag("Whether frames are committed when they are sent"),
        "last_index": whole("Index of the last frame that it was sent; 0 for none"),
    },
)

COMPONENTS: dict[str, Schema] = {
    "Problem": {
        "type": "object",
        "description": "What was wrong (RFC 9457)",
        "properties": {
            "type": text("about:blank"),
            "title": text("The status in words"),
            "status": whole("HTTP status", minimum=400, maximum=599),
            "detail": text("What was wrong, where, and what would be right"),
        },
        "required": ["type", "title", "status", "detail"],
    },
    "Instance": shape(
        "An instance",
        {
            "id": text("Its id"),
            "service": text("Whose"),
            "ip": text("Where it listens"),
            "port": whole("Where it listens; the same through crash and reset", maximum=65535),
            "weight": WEIGHT,
            "zone": text("Its availability zone; empty for none"),
            "state": STATE,
            "registered": REGISTERED,
            "connections": whole("Open now"),
            "in_flight": whole("Requests not answered yet, or not to the end"),
            "streams": whole("Of these, streamed answers that run"),
            "busy": whole("Workers that compute"),
            "queued": whole("Requests that wait for a worker"),
            "requests": whole("In the journal's account"),
            "failures": whole("Of these, not answered with 2xx, or not to the end"),
        },
    ),
    "Service": shape(
        "A service",
        {
            "name": text("Its name"),
            "has_token": flag("Whether callers need one; the token itself is in the ready file only"),
            "gateway": GATEWAY,
            "is_queue_service": flag("Whether its requests go to queues"),
            "instances": listed("Its instances", ref("Instance")),
        },
    ),
    "InstancePatch": PATCH_INSTANCE,
    "ServicePatch": PATCH_SERVICE,
    "NewInstance": NEW_INSTANCE,
    "NewService": NEW_SERVICE,
    "NewFault": NEW_FAULT,
    "NewStub": NEW_STUB,
    "Matcher": MATCHER,
    "Reset": RESET,
    "Fault": shape(
        "A fault at work",
        {
            "type": text("A key of /v1/fault-types"),
            "target": shape("Where", _PLACE, required=False),
            "attributes": {"type": "object", "description": "What the type takes; those not given have defaults"},
            **{attribute.name: attribute.schema() for attribute in faults.WHEN},
            "struck": whole("How often it has struck"),
        },
    ),
    "FaultType": shape(
        "A type of fault",
        {
            "type": text("Its name"),
            "on": text("Where it can strike", enum=["instances", "discovery"]),
            "says": text("What it does"),
            "attributes": listed("What it takes", _ATTRIBUTE),
        },
    ),
    "Activation": _values(Activation, {"at": float} | dict.fromkeys(("fault", "type", "service", "instance"), str)),
    "Request": _with_content(_values(Row, FIELDS, number=whole("Place in the journal, from 1"))),
    "Stub": shape(
        "Canned responses at work",
        {
            "name": text("Unique in the service"),
            "request": text("Which requests, in words"),
            "times": {"type": ["integer", "null"], "description": "Requests it answers at most"},
            "hits": whole("Requests it has answered"),
        },
    ),
    "Queue": shape(
        "A queue of a queue service",
        {
            "name": text("The service's name for the input queue, with /sink for the output queue"),
            "length": whole("Frames in it, committed ones included"),
            "max_length": whole("Frames it takes at most"),
            "pending": whole("Frames that a consumer has without a commit"),
            "consumers": whole("Consumers with an open watch, and workers"),
            "first_index": whole("Index of the oldest frame; 0 for none"),
            "last_index": whole("Index of the newest frame; 0 for none"),
            "has_ended": flag("Whether the end of the stream was announced"),
            "groups": listed(
                "Groups of consumers",
                shape(
                    "A group",
                    {
                        "name": text("Its name"),
                        "waiting": whole("Frames that none of its consumers has, or has had and given back"),
                        "pending": whole("Frames that a consumer has without a commit"),
                        "committed": whole("Committed frames that are still in the queue"),
                        "consumers": listed("Its consumers, also those that have gone", _CONSUMER),
                    },
                ),
            ),
        },
    ),
    "Connection": shape(
        "An open connection of an instance",
        {
            "service": text("Whose"),
            "instance": text("Whose"),
            "peer": text("The other end, as `host:port`"),
            "requests": whole("How many came on it"),
            "is_idle": flag("Whether no request is being answered on it"),
        },
    ),
    "Stream": shape(
        "A streamed answer that runs",
        {
            "service": text("Whose"),
            "instance": text("Whose"),
            "peer": text("The other end, as `host:port`"),
            "method": text("HTTP method"),
            "path": text("Path and query, as sent; a long one is cut"),
            "status": whole("HTTP status"),
            "elapsed_s": {"type": "number", "description": "Seconds since the whole request was there"},
            "first_byte_s": {"type": "number", "description": "From there to the body's first byte; 0 for none yet"},
            "bytes_out": whole("Size of the body so far"),
        },
    ),
    "Reply": _values(Reply, _REPLY_TYPES),
    "State": shape(
        "Everything at a glance",
        {
            "seed": {"type": "integer", "description": "Of every random draw"},
            "nonce": text("Of this simulator alone; its ready file has the same"),
            "url": text("The endpoint: what a client is given"),
            "uptime_s": {"type": "number", "description": "Seconds since it began to listen"},
            "services": listed("Who exists", ref("Service")),
            "faults": listed("What is at work", ref("Fault")),
            "requests": shape(
                "What reached the instances",
                {
                    "total": whole("Since the journal was empty"),
                    "failures": whole("Of these, not answered with 2xx, or not to the end"),
                    "by_instance": {"type": "object", "additionalProperties": whole("How many")},
                },
            ),
            "discovery": shape(
                "What was asked of discovery",
                {
                    "requests": whole("How many"),
                    "by_answer": {"type": "object", "additionalProperties": whole("How many")},
                    "replies": listed("The last of each service", ref("Reply")),
                },
            ),
        },
    ),
}


def attribute_json(attribute: Attribute) -> dict[str, Any]:
    """Render an attribute of a fault type as `/v1/fault-types` returns it."""
    names = _ATTRIBUTE["properties"]
    return {name: _plain(getattr(attribute, name)) for name in names}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
