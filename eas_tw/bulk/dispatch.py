"""`score`, which selects the implementation for the kind of client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw import ConfigError, PredictClient, aio, blocking
from eas_tw.bulk import asynchronous, threads
from eas_tw.bulk.engine import score_with_twisted
from eas_tw.display import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def score(rows: Iterable[Any], sink: Callable[[Any], Any], *, client: Any, **options: Any) -> Any:
    """Send each row to a service, and pass each output to a function.

    Rows are read only when they are needed, so memory does not depend on their number. For a row that fails in spite of
    the client's retries, the output is an `ErrorRow`.

    Args:
        rows: The rows, any iterable.
        sink: A function that takes one output. With the Twisted client it may return a Deferred, and with the asyncio
            client it may be a coroutine function; the job waits for it.
        client: A `PredictClient` of `eas_tw`, `eas_tw.aio` or `eas_tw.blocking`. If the client is not ready, its `init`
            is called.
        options: The settings of the job; see `JobOptions`.

    Returns:
        1. A Deferred of a `ScoringReport`, with the Twisted client. Cancelling it cancels the requests in flight.
        2. A coroutine that returns a `ScoringReport`, with the asyncio client.
        3. The `ScoringReport`, with the blocking client.

    Raises:
        TooManyErrors: More rows failed than `max_errors` allows.
        EasError: The error of a row, if `on_error` is `raise`, or of `init`.
        ConfigError: An option is wrong, or `client` is not a client. With the Twisted and asyncio
            clients, the Deferred fails with these errors, or the coroutine raises them, except for a wrong `client`.
    """
    if isinstance(client, PredictClient):
        return score_with_twisted(rows, sink, client=client, **options)
    if isinstance(client, aio.PredictClient):
        return asynchronous.score(rows, sink, client=client, **options)
    if isinstance(client, blocking.PredictClient):
        return threads.score(rows, sink, client=client, **options)
    raise ConfigError(f"client must be a PredictClient of eas_tw, eas_tw.aio or eas_tw.blocking, got {shown(client)}")
