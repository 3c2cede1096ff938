"""Functions that build JSON Schemas, independent of the admin API's resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema = dict[str, Any]
TYPE_NAMES = {str: "string", int: "integer", float: "number"}
"""Python types, with their names in JSON Schema."""


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
    """Build the schema of an object that has only these properties; `required` makes all of them required."""
    found = {"type": "object", "description": says, "properties": dict(properties), "additionalProperties": False}
    return found | ({"required": list(properties)} if required else {}) | more


def ref(name: str) -> Schema:
    """Build a reference to a named component."""
    return {"$ref": f"#/components/schemas/{name}"}


def collection(name: str, component: str, **more: Any) -> Schema:
    """Build the schema of `{"<name>": [...]}`."""
    noun = name.replace("_", " ")
    return shape(f"An object with a list of {noun}", {name: listed(f"The {noun}", ref(component)), **more})
