"""Random words, and random JSON values that fit a schema."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

_TOKEN = re.compile(r"\s*(?:[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w{1,8}|[^\w\s])|\s+")
_TEXT = """
a all and answer any are as at balance because before between block both build call can case change client close cloud
come cost count data day deep each end every example fast field find first for form from full give good grow has have
here high how idea if in into is it just keep key know large last layer learn less level like line list load long look
low make many may mean model more most move much must name need new next no node not now of on one open or order other
out over part path place plan point port queue rate read real reason request result right round rule run same send
server set shape short show side since size slow small so some space start state step still stop such table take test
than that the then there these thing this time to token top tree true try turn two under unit up use value very view
wait want way well what when where which while why will with word work would yet you
"""
_WORDS = _TEXT.split()
_ENDS = (".", ".", ".", "!", "?", ":")
_MAX_DEPTH = 8


def split_tokens(text: str) -> list[str]:
    """Split a text into tokens; joined, they are the text again."""
    return _TOKEN.findall(text)


def tokens(rng: Random) -> Iterator[str]:
    """Yield words and punctuation endlessly, each as a token."""
    is_first = True
    while True:
        length = rng.randint(4, 14)
        for at in range(length):
            word = rng.choice(_WORDS)
            word = word.capitalize() if at == 0 else word
            yield word if is_first else f" {word}"
            is_first = False
            if 0 < at < length - 1 and rng.random() < 0.08:  # noqa: PLR2004
                yield ","
        yield rng.choice(_ENDS)


def value_of(schema: Any, rng: Random, depth: int = 0) -> Any:
    """Draw a JSON value that fits a JSON Schema; unsupported keywords are ignored."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return None
    if "const" in schema:
        return schema["const"]
    for name in ("enum", "examples"):
        if isinstance(schema.get(name), list) and schema[name]:
            return rng.choice(schema[name])
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(name), list) and schema[name]:
            return value_of(schema[name][0], rng, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    make = _VALUES.get(kind) if isinstance(kind, str) else None
    return make(schema, rng, depth) if make else None


def _object(schema: dict[str, Any], rng: Random, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    required = schema.get("required")
    wanted = [name for name in properties if not isinstance(required, list) or name in required]
    return {name: value_of(properties[name], rng, depth + 1) for name in wanted}


def _array(schema: dict[str, Any], rng: Random, depth: int) -> list[Any]:
    least = schema.get("minItems", 1)
    count = least if isinstance(least, int) and 0 < least <= _MAX_DEPTH else 1
    return [value_of(schema.get("items", {}), rng, depth + 1) for _ in range(count)]


def _bounds(schema: dict[str, Any]) -> tuple[float, float]:
    low = schema.get("minimum", 0)
    low = low if isinstance(low, int | float) else 0
    high = schema.get("maximum", low + 100)
    return low, max(low, high if isinstance(high, int | float) else low)


def _integer(schema: dict[str, Any], rng: Random, _: int) -> int:
    low, high = _bounds(schema)
    return rng.randint(int(low), int(high))


def _number(schema: dict[str, Any], rng: Random, _: int) -> float:
    return round(rng.uniform(*_bounds(schema)), 3)


_VALUES: dict[str, Any] = {
    "object": _object,
    "array": _array,
    "integer": _integer,
    "number": _number,
    "string": lambda _, rng, __: f"{rng.choice(_WORDS)} {rng.choice(_WORDS)}",
    "boolean": lambda _, rng, __: rng.random() < 0.5,  # noqa: PLR2004
}
