"""The keyword arguments of calls, defined once for all adapters; `PredictClient` documents each argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping


class CallOptions(TypedDict, total=False):
    """The keyword arguments of `PredictClient.predict`.

    Attributes:
        timeout_s: The deadline of the whole call in seconds, > 0; `None` for the client's `timeout_s`.
        path: The path relative to the service's path, percent-encoded; empty for the service's path itself.
        query: A mapping of query fields, or an encoded query; `None` for none.
        headers: Headers of this call only; `None` for none.
        idempotent: Whether the call may be sent to an instance after another instance may have received it.
        key: The key by which the balancer may choose the instance; `None` for none.
    """

    timeout_s: float | None
    path: str
    query: Mapping[str, str] | str | None
    headers: Mapping[str, str] | None
    idempotent: bool
    key: str | bytes | None


class _PlainOptions(TypedDict, total=False):
    query: Mapping[str, str] | str | None
    headers: Mapping[str, str] | None
    timeout_s: float | None
    idempotent: bool | None
    key: str | bytes | None


class RequestOptions(_PlainOptions, total=False):
    """The keyword arguments of `PredictClient.request`."""

    body: Any


class StreamOptions(_PlainOptions, total=False):
    """The keyword arguments of `PredictClient.stream`."""

    method: str
    path: str
    idle_timeout_s: float | None
    total_timeout_s: float | None
    any_status: bool
