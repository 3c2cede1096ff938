"""Validation of values against the subset of JSON Schema that the admin API uses.

No library is used, so that each error message can give the path, the expectation and the value: `$.weight: expected a
number ≥ 0, got -1`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
KNOWN = frozenset(
    {"type", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "items"}
    | {"properties", "required", "minProperties", "additionalProperties", "description", "default"}
    | {"writeOnly", "x-expected"}
)
"""The JSON Schema keywords that this module supports; a test checks that the admin API's schemas use no other keyword.

`writeOnly` marks secrets, which error messages do not contain. `x-expected` describes the accepted values in words.
Error messages use it instead of a regular expression.
"""


def problem(schema: Mapping[str, Any], value: Any, path: str = "$") -> str:
    """Return the first violation, beginning with its path; an empty string if the value is valid."""
    return next(problems(schema, value, path), "")


def problems(schema: Mapping[str, Any], value: Any, path: str = "$") -> Iterator[str]:
    """Yield every violation, each beginning with its path."""
    if not _fits(schema, value):
        got = "another value, which is not shown" if schema.get("writeOnly") else _short(value)
        yield f"{path}: expected {expected(schema)}, got {got}"
    elif isinstance(value, dict):
        yield from _object_problems(schema, value, path)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from problems(schema.get("items", {}), item, f"{path}[{at}]")


def _object_problems(schema: Mapping[str, Any], value: dict[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: missing"
    if len(value) < schema.get("minProperties", 0):
        yield f"{path}: nothing to change; give {_or(list(properties))}"
    for name, item in value.items():
        if name in properties:
            yield from problems(properties[name], item, f"{path}.{name}")
        elif schema.get("additionalProperties", True) is False:
            yield f"{path}.{name}: unknown; known are {', '.join(properties)}"


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    types = schema.get("type", list(_TYPES))
    if not any(_is(kind, value) for kind in ([types] if isinstance(types, str) else types)):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _within(value, schema.get("minimum"), schema.get("maximum"))
    if isinstance(value, str):
        sized = _within(len(value), schema.get("minLength"), schema.get("maxLength"))
        return sized and re.search(schema.get("pattern", ""), value) is not None
    return not isinstance(value, list) or _within(len(value), schema.get("minItems"), schema.get("maxItems"))


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _within(size: float, low: float | None, high: float | None) -> bool:
    return (low is None or low <= size) and (high is None or size <= high)


def expected(schema: Mapping[str, Any]) -> str:
    """Describe in words what a schema accepts."""
    if "x-expected" in schema:
        return str(schema["x-expected"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    types = schema.get("type", "anything")
    words = _or([_WORDS.get(kind, kind) for kind in ([types] if isinstance(types, str) else types)])
    bounds = [f"{sign} {schema[key]:g}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in schema]
    if "pattern" in schema:
        bounds.append(f"that matches {schema['pattern']}")
    if "maxLength" in schema:
        bounds.append(f"of at most {schema['maxLength']} characters")
    if "maxItems" in schema:
        bounds.append(f"of at most {schema['maxItems']}")
    return " ".join([words, " and ".join(bounds)]).strip()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"  # noqa: PLR2004  so that a message fits on a line of a terminal


def _or(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
