"""JSON Schemas (2020-12) of what the admin API takes: the bodies of its requests."""

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
    WORKERS,
)
from simulator.stubs import MAX_DELAY_S, MAX_RESPONSES

if TYPE_CHECKING:
    from simulator.admin.schema_parts import Schema

MAX_WEIGHT = 2**31 - 1
MAX_NEW_INSTANCES = 1000

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
    "properties": {name: {"type": TYPE_NAMES[type_]} for name, type_ in FIELDS.items()},
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
