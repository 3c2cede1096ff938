"""The named schemas of the OpenAPI document: the request bodies of `schemas`, and what the admin API returns.

The schemas of rows, states, faults and processors are derived from the classes themselves, so that the document cannot
disagree with the code.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from simulator import faults
from simulator.admin.schema_parts import TYPE_NAMES, flag, listed, ref, shape, text, whole
from simulator.admin.schemas import (
    GATEWAY,
    MATCHER,
    NEW_FAULT,
    NEW_INSTANCE,
    NEW_SERVICE,
    NEW_STUB,
    PATCH_INSTANCE,
    PATCH_SERVICE,
    REGISTERED,
    RESET,
    STATE,
    WEIGHT,
)
from simulator.fault_registry import Activation
from simulator.journal import FIELDS, Row
from simulator.queues.frames import ConsumerStatus
from simulator.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.admin.schema_parts import Schema
    from simulator.fault_kinds import Attribute


def _said(value: type) -> dict[str, str]:
    """Read the description of each attribute from the docstring of an attrs class."""
    lines = (inspect.getdoc(value) or "").partition("Attributes:\n")[2].splitlines()
    return {name.strip(): says.strip() for name, _, says in (line.partition(":") for line in lines)}


def _values(kind: type, types: Mapping[str, type], **more: Any) -> Schema:
    said = _said(kind)
    return shape(
        (inspect.getdoc(kind) or "").partition("\n")[0],
        more | {name: {"type": TYPE_NAMES[type_], "description": said[name]} for name, type_ in types.items()},
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
