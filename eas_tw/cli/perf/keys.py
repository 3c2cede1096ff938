"""The option `--key-from`: the key of each call, by which the balancer `hash` chooses the instance."""

from __future__ import annotations

import json
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eas_tw import ConfigError
from eas_tw.cli.files import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def keyed(requests: Sequence[Any], key_from: str | None) -> Iterator[tuple[Any, dict[str, str]]]:
    """Return an endless iterator over the requests of a run, each with further keyword arguments of `predict`.

    Args:
        requests: The requests, at least one; they are repeated.
        key_from: The source of the keys, which is one of

            1. a file, whose lines are used as keys in turn;
            2. the path of a field of JSON bodies, such as `user` or `messages.0.content`;
            3. `None`, to add no key to the arguments.

    Raises:
        ConfigError: The file has no line that is not empty, or a body does not have the field.
        OSError: The file cannot be read.
    """
    if key_from is None:
        return cycle([(request, {}) for request in requests])
    file = Path(key_from)
    if file.exists():
        try:
            keys = [line for line in read(file).decode("utf-8-sig").splitlines() if line]
        except UnicodeDecodeError as error:
            raise ConfigError(f"--key-from: {file} is not text in UTF-8 at byte {error.start}") from None
        if not keys:
            raise ConfigError(f"--key-from: {file} has no line with a key")
        return ((request, {"key": key}) for request, key in zip(cycle(requests), cycle(keys), strict=False))
    return cycle([(request, {"key": _field(request, key_from)}) for request in requests])


def _field(request: Any, path: str) -> str:
    try:
        value = json.loads(request)
        for name in path.split("."):
            value = value[int(name)] if isinstance(value, list) else value[name]
    except (ValueError, LookupError, TypeError, RecursionError):
        start = repr(request)[:80]
        raise ConfigError(f"--key-from: there is no file {path!r}, and no such field in the body {start}") from None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
