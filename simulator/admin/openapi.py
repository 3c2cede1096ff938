"""The admin API's OpenAPI 3.1 document, generated from the routing table."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from simulator.admin.components import COMPONENTS
from simulator.admin.routing import JSON
from simulator.admin.schema_parts import ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from simulator.admin.routing import Operation, Parameter

ROOT = "/_eas"
_INTRODUCTION = """\
Inspects and changes a simulated PAI-EAS. A change has taken effect when its response is sent. No response contains a
token. Writes need `Content-Type: application/json`, and the Host header must name the machine of the simulator. Every
error is a problem document (RFC 9457) whose `detail` says what is wrong, where, and what is expected.
"""
_NAMES = {
    "service": "Name of the service; the `/` of `group/service` is encoded as `%2F`",
    "instance": "Id of the instance",
    "name": "Name of the fault",
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Build the OpenAPI document of a table of operations."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "EAS simulator",
            "version": "1",
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": ROOT}],
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "responses": {"Problem": _answer("The error", ref("Problem"), "application/problem+json")},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    good = _answer(operation.says, operation.gives, operation.media)
    statuses = sorted({*_problems(operation), *operation.problems})
    found: dict[str, Any] = {
        "operationId": operation_id(operation),
        "summary": operation.says,
        "tags": [operation.path.split("/")[2] if operation.path.startswith("/v1/") else "process"],
        "parameters": [*map(_name, operation.names), *map(_field, operation.query)],
        "responses": {
            str(operation.status): good,
            **{str(status): {"$ref": "#/components/responses/Problem"} for status in statuses},
        },
    }
    if operation.takes is not None:
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": _named(operation.takes)}}}
    return found


def operation_id(operation: Operation) -> str:
    """Derive a name that a generated client can use for a method, such as `patch_service_instance`."""
    # A plural before a name becomes singular, because services/{service} is one service.
    path = re.sub(r"s/\{\w+\}", "", operation.path.removeprefix("/v1"))
    return "_".join([operation.method.lower(), *re.findall(r"\w+", path)]) if path != "/" else "get_page"


def _named(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((ref(name) for name, component in COMPONENTS.items() if component is schema), schema)


def _problems(operation: Operation) -> set[int]:
    found = {400, 403, 405}
    if operation.names:
        found |= {404}
    if operation.method in ("POST", "PATCH"):
        found |= {413, 415, 422}
    return found


def _answer(says: str, schema: Any, media: str) -> dict[str, Any]:
    if schema is None:
        return {"description": says or HTTPStatus.NO_CONTENT.phrase}
    return {"description": says, "content": {media: {"schema": schema}}}


def _name(name: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "description": _NAMES[name], "schema": schema}


def _field(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.schema) | ({} if parameter.default is None else {"default": parameter.default})
    return {
        "name": parameter.name,
        "in": "query",
        "required": False,
        "description": parameter.says,
        "schema": schema,
    }
