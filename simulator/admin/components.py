"""The named schemas of the OpenAPI document: the request bodies of `schemas`, and the response bodies.

The schemas of rows, states, faults and processors are derived from the simulator's classes and tables, so that the
document cannot differ from the code.
"""

from __future__ import annotations

import inspect
import re
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


_ATTRIBUTE_LINES = re.compile(r"^ {4}(\w+):(.*(?:\n {8}.*)*)", re.MULTILINE)
"""An attribute of a docstring in Napoleon style, with the indented lines that continue its description."""


def _said(value: type) -> dict[str, str]:
    """Read the description of each attribute from the docstring of a class; wrapped lines are joined."""
    section = (inspect.getdoc(value) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    return {name: " ".join(says.split()) for name, says in _ATTRIBUTE_LINES.findall(section)}


def _values(kind: type, types: Mapping[str, type], **more: Any) -> Schema:
    said = _said(kind)
    return shape(
        (inspect.getdoc(kind) or "").partition("\n")[0],
        more | {name: {"type": TYPE_NAMES[type_], "description": said[name]} for name, type_ in types.items()},
    )


def _with_content(row: Schema) -> Schema:
    """Add the property `content`, which a row of the journal has only in a response to a request with `content=1`."""
    message: Schema = {
        "type": ["object", "null"],
        "description": "Headers and body; null if no complete message was sent",
        "properties": {
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body_bytes": whole("Size of the whole body, in bytes"),
            "body": text("The stored part of the body, if it is UTF-8 text, up to the last whole character"),
            "body_base64": text("The stored part of the body in base64, if it is not UTF-8 text"),
        },
    }
    row["properties"]["content"] = {
        "type": ["object", "null"],
        "description": "Only with `content=1`: the stored headers and bodies; null if none were stored",
        "properties": {"request": message, "response": message},
    }
    return row


_PLACE = {
    "service": text("Name of the service"),
    "instance": text("Id of the instance"),
    "zone": text("Name of the zone"),
    "discovery": flag("Whether the fault applies to discovery"),
}
_ATTRIBUTE = shape(
    "An attribute of a fault type",
    {
        "name": text("Name, as a key of `attributes`"),
        "says": text("Description, one line"),
        "type": text("JSON type", enum=["number", "integer", "string", "boolean"]),
        "default": {"description": "Value when the attribute is absent"},
        "unit": text("Unit of a number; empty for a number without unit"),
        "low": {"type": ["number", "null"], "description": "Least number, or least length of a string; null for none"},
        "high": {"type": ["number", "null"], "description": "Greatest number, or length of a string; null for none"},
        "choices": listed("All permitted strings; empty for any", {"type": "string"}),
        "is_optional": flag("Whether null is permitted as well"),
    },
)
_REPLY_TYPES = {"at": float, "service": str, "path": str, "answer": str, "status": int, "body": str, "body_bytes": int}

_CONSUMER = shape(
    "A consumer",
    {
        "user": text("Id of the consumer"),
        "status": text("Status, as in the queue's attributes", enum=[status.value for status in ConsumerStatus]),
        "pending": whole("Number of frames that were sent to it and are not committed"),
        "window": whole("Maximum number of pending frames"),
        "auto_commit": flag("Whether frames are committed when they are sent"),
        "last_index": whole("Index of the last frame that was sent to it; 0 for none"),
    },
)

COMPONENTS: dict[str, Schema] = {
    "Problem": {
        "type": "object",
        "description": "A problem document (RFC 9457)",
        "properties": {
            "type": text("about:blank"),
            "title": text("Reason phrase of the status"),
            "status": whole("HTTP status", minimum=400, maximum=599),
            "detail": text("What is wrong, where, and what is expected"),
        },
        "required": ["type", "title", "status", "detail"],
    },
    "Instance": shape(
        "An instance",
        {
            "id": text("Id of the instance"),
            "service": text("Name of its service"),
            "ip": text("Address on which it listens"),
            "port": whole("Port on which it listens; crash and reset do not change it", maximum=65535),
            "weight": WEIGHT,
            "zone": text("Availability zone; empty for none"),
            "state": STATE,
            "registered": REGISTERED,
            "connections": whole("Number of open connections"),
            "in_flight": whole("Number of connections with a request that is not completely answered"),
            "streams": whole("Number of running streamed responses, included in `in_flight`"),
            "busy": whole("Number of workers that compute a request"),
            "queued": whole("Number of requests that wait for a worker"),
            "requests": whole("Number of requests since the journal was cleared"),
            "failures": whole("Number of these requests that were not answered completely with 2xx"),
        },
    ),
    "Service": shape(
        "A service",
        {
            "name": text("Name of the service"),
            "has_token": flag("Whether requests need a token, which is only in the ready file"),
            "gateway": GATEWAY,
            "is_queue_service": flag("Whether it is a queue service"),
            "instances": listed("Instances of the service", ref("Instance")),
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
        "An active fault",
        {
            "type": text("Name of the fault type, as in /v1/fault-types"),
            "target": shape("Target of the fault", _PLACE, required=False),
            "attributes": {"type": "object", "description": "Attributes of the type; absent ones have their defaults"},
            **{attribute.name: attribute.schema() for attribute in faults.WHEN},
            "struck": whole("Number of activations"),
        },
    ),
    "FaultType": shape(
        "A fault type",
        {
            "type": text("Name of the fault type"),
            "on": text("Targets to which it applies", enum=["instances", "discovery"]),
            "says": text("Description of its effect"),
            "attributes": listed("Attributes that it accepts", _ATTRIBUTE),
        },
    ),
    "Activation": _values(Activation, {"at": float} | dict.fromkeys(("fault", "type", "service", "instance"), str)),
    "Request": _with_content(_values(Row, FIELDS, number=whole("Number of the row, from 1"))),
    "Stub": shape(
        "A stub: canned responses for matching requests",
        {
            "name": text("Name, unique in the service"),
            "request": text("Description of the matching requests"),
            "times": {"type": ["integer", "null"], "description": "Maximum number of answered requests; null for none"},
            "hits": whole("Number of answered requests"),
        },
    ),
    "Queue": shape(
        "A queue of a queue service",
        {
            "name": text("Name of the queue: the service's name, with /sink appended for the output queue"),
            "length": whole("Number of frames, committed ones included"),
            "max_length": whole("Maximum number of frames"),
            "pending": whole("Number of frames that were sent to a consumer and are not committed"),
            "consumers": whole("Number of consumers with an open watch, workers included"),
            "first_index": whole("Index of the oldest frame; 0 for none"),
            "last_index": whole("Index of the newest frame; 0 for none"),
            "has_ended": flag("Whether the end of the stream has been announced"),
            "groups": listed(
                "Groups of consumers",
                shape(
                    "A group",
                    {
                        "name": text("Name of the group"),
                        "waiting": whole("Number of frames that are neither pending nor committed"),
                        "pending": whole("Number of frames that were sent to a consumer and are not committed"),
                        "committed": whole("Number of committed frames that are still in the queue"),
                        "consumers": listed("Consumers, including those whose watch has ended", _CONSUMER),
                    },
                ),
            ),
        },
    ),
    "Connection": shape(
        "An open connection of an instance",
        {
            "service": text("Name of the service"),
            "instance": text("Id of the instance"),
            "peer": text("Address of the client, as `host:port`"),
            "requests": whole("Number of requests handled on it, including the present one"),
            "is_idle": flag("Whether no request is being answered or waits on it"),
        },
    ),
    "Stream": shape(
        "A running streamed response",
        {
            "service": text("Name of the service"),
            "instance": text("Id of the instance"),
            "peer": text("Address of the client, as `host:port`"),
            "method": text("HTTP method"),
            "path": text("Path and query, as sent; truncated if long"),
            "status": whole("HTTP status"),
            "elapsed_s": {"type": "number", "description": "Seconds since the complete request"},
            "first_byte_s": {
                "type": "number",
                "description": "Seconds from the complete request to the first byte of the body; 0 while there is none",
            },
            "bytes_out": whole("Number of bytes of the body that have been sent"),
        },
    ),
    "Reply": _values(Reply, _REPLY_TYPES),
    "State": shape(
        "The state of the simulator",
        {
            "seed": {"type": "integer", "description": "Seed of all random draws"},
            "nonce": text("Random text that identifies this simulator, the same as in its ready file"),
            "url": text("Endpoint with which a client is configured"),
            "uptime_s": {"type": "number", "description": "Seconds since the simulator began to listen"},
            "services": listed("Running services", ref("Service")),
            "faults": listed("Active faults", ref("Fault")),
            "requests": shape(
                "Requests that reached instances",
                {
                    "total": whole("Number of requests since the journal was cleared"),
                    "failures": whole("Number of these requests that were not answered completely with 2xx"),
                    "by_instance": {"type": "object", "additionalProperties": whole("Number of requests")},
                },
            ),
            "discovery": shape(
                "Discovery requests",
                {
                    "requests": whole("Number of requests"),
                    "by_answer": {"type": "object", "additionalProperties": whole("Number of requests")},
                    "replies": listed("The last reply of each service", ref("Reply")),
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
