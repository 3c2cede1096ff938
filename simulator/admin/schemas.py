"""JSON Schemas (2020-12) of the request bodies of the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator import faults
from simulator.admin.schema_parts import TYPE_NAMES, flag, listed, shape, text, whole
from simulator.captures import MAX_BODY_BYTES
from simulator.durations import MAX_S
from simulator.instance import State
from simulator.journal import FIELDS
from simulator.processors import BUILT_IN
from simulator.queues.queue import PAYLOAD_BYTES
from simulator.queues.store import MAX_LENGTH
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
    TOKEN_PATTERN,
    WORKERS,
)
from simulator.stubs import MAX_DELAY_S, MAX_RESPONSES

if TYPE_CHECKING:
    from simulator.admin.schema_parts import Schema

MAX_WEIGHT = 2**31 - 1
MAX_NEW_INSTANCES = 1000

WEIGHT: Schema = {
    "type": "number",
    "description": "Weight in discovery replies; an instance of weight 0 gets no requests",
    "minimum": 0,
    "maximum": MAX_WEIGHT,
}
STATE = text("State; it does not affect discovery replies", enum=[state.value for state in State])
REGISTERED = flag("Whether discovery replies list the instance")
GATEWAY = text(
    "Mode of the gateway when an instance refuses connections: fail (502), retry (try the others), avoid (skip it)",
    enum=list(GATEWAY_MODES),
)
MATCHER = {
    "type": "object",
    "description": "Fields of a row with their required values; an empty object matches every row",
    "properties": {name: {"type": TYPE_NAMES[type_]} for name, type_ in FIELDS.items()},
    "additionalProperties": False,
}
PATCH_INSTANCE = shape(
    "Fields to change", {"weight": WEIGHT, "state": STATE, "registered": REGISTERED}, required=False, minProperties=1
)
PATCH_SERVICE = shape("Fields to change", {"gateway": GATEWAY}, required=False, minProperties=1)
NEW_INSTANCE = shape(
    "Initial settings of the instance",
    {"weight": WEIGHT | {"default": 100}, "registered": REGISTERED | {"default": True}},
    required=False,
)
RESET = shape(
    "Settings of the reset",
    {"seed": {"type": ["integer", "null"], "description": "Seed of all random draws; the present one if absent"}},
    required=False,
)
_LLM = r"llm:[a-z_]+=[A-Za-z0-9_.:|*/-]+(,[A-Za-z0-9_.:|*/=-]+)*"
NEW_SERVICE = shape(
    "A service to simulate",
    {
        "name": text("`service` or `group/service`", pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", maxLength=200),
        "instances": whole("Number of instances", maximum=MAX_NEW_INSTANCES, default=3),
        "weights": listed("Weights of the first, second, … instance; 100 for the others", WEIGHT),
        "token": text(
            "Token that requests must have, in visible ASCII; empty for none",
            maxLength=1000,
            pattern=TOKEN_PATTERN,
            default="",
            writeOnly=True,
            **{"x-expected": "a string of visible ASCII without blanks at its ends, of at most 1000 characters"},
        ),
        "processor": text(
            f"Processor of the instances: {', '.join(BUILT_IN)}, sleep:SECONDS, llm:SETTINGS; "
            "empty to choose one by the service's name",
            pattern="^(" + "|".join([*BUILT_IN, r"sleep:[0-9]{1,3}(\.[0-9]{1,6})?", _LLM]) + ")?$",
            default="",
            **{"x-expected": f"one of {', '.join(BUILT_IN)}, sleep:SECONDS, llm:SETTINGS, or nothing"},
        ),
        "workers": whole(
            f"Requests that an instance computes at a time; by default {LLM_WORKERS} with the processor llm",
            minimum=1,
            maximum=MAX_WORKERS,
            default=WORKERS,
        ),
        "queue": whole(
            "Requests that wait for a worker; further ones are answered with 450", maximum=MAX_QUEUE, default=QUEUE
        ),
        "processing": {
            "type": ["number", "string"],
            "description": "Time that a worker takes: seconds, or a distribution, such as lognormal:MEDIAN,P99",
            "minimum": 0,
            "maximum": MAX_S,
            "default": 0,
        },
        "keepalive_s": {
            "type": "number",
            "description": "Seconds after which an unanswered request is answered with 408; 0 for never; "
            f"by default {LLM_KEEPALIVE_S:g} with the processor llm",
            "minimum": 0,
            "maximum": 86_400,
            "default": KEEPALIVE_S,
        },
        "rate_limit": {
            "type": ["number", "null"],
            "description": "Requests per second of an instance; further ones are answered with 429; null for no limit",
            "minimum": 0.001,
            "maximum": MAX_RATE,
        },
        "capture_bytes": {
            "type": ["integer", "null"],
            "description": "Bytes of each body that the journal stores, with the headers; null to store neither",
            "minimum": 0,
            "maximum": MAX_BODY_BYTES,
        },
        "zones": listed("Availability zones, to which instances are assigned in turn", text("A name", minLength=1)),
        "gateway": GATEWAY | {"default": "fail"},
        "queue_service": flag("Whether requests are put into an input queue, and results into the queue /sink")
        | {"default": False},
        "queue_workers": flag("Whether the instances of a queue service compute frames") | {"default": True},
        "input_length": whole(
            "Maximum number of frames of the input queue; further ones are answered with 429",
            minimum=1,
            maximum=MAX_FRAMES,
            default=MAX_LENGTH,
        ),
        "sink_length": whole(
            "Maximum number of frames of the sink; workers wait while it is full",
            minimum=1,
            maximum=MAX_FRAMES,
            default=MAX_LENGTH,
        ),
        "max_payload_bytes": whole(
            "Maximum payload of a frame, in bytes; larger ones are answered with 413",
            minimum=1,
            maximum=MAX_PAYLOAD_BYTES,
            default=PAYLOAD_BYTES,
        ),
    },
) | {"required": ["name"]}
_ANY: Schema = {"description": "A JSON value"}
_HEADERS: Schema = {"type": "object", "description": "Header fields", "additionalProperties": {"type": "string"}}
_BODY = text("The body as text (UTF-8)")
_BODY_BASE64 = text("The body in base64", pattern=r"^[A-Za-z0-9+/]*={0,2}$")
NEW_STUB = shape(
    "Canned responses for matching requests",
    {
        "name": text("Name, unique in the service; generated if absent", maxLength=200),
        "request": shape(
            "Conditions on the request, all of which must hold",
            {
                "method": text("HTTP method"),
                "path": text("Path below the service's own, such as /v1/models"),
                "query": _HEADERS | {"description": "Fields of the query"},
                "headers": _HEADERS,
                "body": _BODY,
                "body_base64": _BODY_BASE64,
                "contains": text("Text that the body must contain"),
                "json": _ANY,
            },
            required=False,
        ),
        "responses": listed(
            "Responses, used in order; the last one is repeated",
            shape(
                "A response",
                {
                    "status": whole("HTTP status", minimum=200, maximum=599, default=200),
                    "headers": _HEADERS,
                    "content_type": text("Content-Type of the body"),
                    "body": _BODY,
                    "body_base64": _BODY_BASE64,
                    "json": _ANY,
                    "delay_s": {
                        "type": "number",
                        "description": "Seconds that a worker takes before it answers",
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
        "times": {
            "type": ["integer", "null"],
            "description": "Maximum number of requests that it answers; null for no limit",
            "minimum": 1,
        },
    },
    required=False,
)
NEW_FAULT = faults.schema()
