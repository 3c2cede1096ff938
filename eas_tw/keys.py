"""Keys of calls, such as a user's name, from which a balancer such as `"hash"` chooses the instance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from eas_tw.display import shown
from eas_tw.errors import ConfigError
from eas_tw.policy.balancing import NO_CALL, CallHeaders, CallInfo
from eas_tw.ranges import COUNT, checked

if TYPE_CHECKING:
    from eas_tw.net.fleet import Fleet

KEY_HEADER = "x-eas-key"
"""The header with a call's key, in requests to `EasAgent` and the httpx transports; not sent to the service."""
BLOCK_CHARS = 256
"""The number of characters in a block of `prefix_key`.

256 characters are about 64 tokens of English text, or four blocks of the usual prefix caches.
"""
_NO_HEADERS = CallHeaders()


def checked_key(key: Any) -> str | bytes | None:
    """Check a call's key, and convert it to exactly `str` or `bytes`; return `None` for an empty key or `None`.

    Raises:
        ConfigError: The key is neither `str` nor `bytes`.
    """
    if key is None or type(key) is str or type(key) is bytes:
        return key or None
    if isinstance(key, str | bytes):
        return (str(key) if isinstance(key, str) else bytes(key)) or None
    raise ConfigError(f"key must be str or bytes, such as a user's or a session's name, got {shown(key)}")


def call_info(
    fleet: Fleet,
    key: str | bytes | None,
    method: str = "POST",
    path: str = "",
    headers: Mapping[str, str] | None = None,
) -> CallInfo:
    """Return the `CallInfo` of a call for the balancer; `NO_CALL` if the balancer does not read calls.

    Raises:
        ConfigError: The key is neither `str` nor `bytes`.
    """
    if key is not None:
        key = checked_key(key)
    if not fleet.reads_calls:
        return NO_CALL
    return CallInfo(key, method, path, CallHeaders(headers) if headers else _NO_HEADERS)


def prefix_key(messages: str | bytes | Iterable[Any], *, blocks: int = 8) -> str:
    """Return a key for the beginning of a prompt, so that calls with the same beginning share a prefix cache.

    The key depends only on the messages before the first answer (system, developer and the first user message), so it
    does not change while a conversation grows. Conversations with the same beginning have the same key.

    Args:
        messages: A prompt as text or UTF-8, or the messages of a chat as dicts with `role` and `content` (or objects
            with these attributes).
        blocks: The number of blocks of 256 characters that the key depends on, ≥ 1. With more blocks, prompts with a
            long common beginning get different keys; with fewer blocks, they get the same key.

    Returns:
        32 hexadecimal digits, which are the same in every process and on every machine.

    Raises:
        ConfigError: `messages` is neither text nor a list of messages, or `blocks` is wrong.
    """
    limit = checked(COUNT, "blocks", blocks) * BLOCK_CHARS
    if isinstance(messages, bytes):
        text = messages[: 4 * limit].decode("utf-8", "replace")
    elif isinstance(messages, str):
        text = messages
    else:
        text = _opening(messages, limit)
    return blake2b(text[:limit].encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _opening(messages: Any, limit: int) -> str:
    """Return role and content of the messages before the first answer, up to `limit` characters."""
    if isinstance(messages, Mapping) or not isinstance(messages, Iterable):
        raise ConfigError(f"messages must be text, or a list of messages with role and content, got {shown(messages)}")
    parts: list[str] = []
    size = 0
    for message in messages:
        role, content = _field(message, "role"), _field(message, "content")
        if role is None and content is None:
            raise ConfigError(f"a message must have role and content, got {shown(message)}")
        if role in ("assistant", "tool", "function") and parts:
            break
        if not isinstance(content, str):
            try:
                content = json.dumps(content, sort_keys=True, ensure_ascii=False, default=_plain)
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigError(f"the content of a message must be text, or a value of JSON: {error}") from error
        part = f"{role}\0{content}\0"
        parts.append(part)
        size += len(part)
        if size >= limit:
            break
    return "".join(parts)


def _field(message: Any, name: str) -> Any:
    return message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)


def _plain(value: Any) -> Any:
    """Convert an object in a message, such as a model of the package `openai`, to a value for JSON."""
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else str(value)
