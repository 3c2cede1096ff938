"""`score` for the asyncio client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eas_tw.bulk.engine import Engine, each_to
from eas_tw.bulk.job import Job
from eas_tw.bulk.options import JobOptions, check_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from eas_tw.aio import PredictClient
    from eas_tw.bulk.report import ScoringReport


async def score(
    rows: Iterable[Any], sink: Callable[[Any], Any], *, client: PredictClient, **options: Any
) -> ScoringReport:
    """Score rows with an asyncio client; `sink` may be a coroutine function. See `eas_tw.bulk.score`."""
    check_arguments(rows, sink)
    settings = JobOptions(**options)
    await client.init()
    loop = asyncio.get_running_loop()
    clock = client.client.clock
    arguments = settings.call_arguments

    sink_futures: set[asyncio.Future[Any]] = set()

    def deferred(waiting: Any) -> Deferred[Any]:
        return Deferred.fromFuture(asyncio.ensure_future(waiting))

    def deferred_of_sink(waiting: Any) -> Deferred[Any]:
        future = asyncio.ensure_future(waiting)
        sink_futures.add(future)
        future.add_done_callback(sink_futures.discard)
        return Deferred.fromFuture(future)

    def predict(request: Any) -> Deferred[Any]:
        # The adapter's `predict` is called, not that of `client.client`, because instrumentation wraps the adapter's.
        return deferred(client.predict(request, **arguments))

    job = Job(rows, settings, clock.seconds())
    engine = Engine(job, predict, clock, each_to(sink, deferred_of_sink))
    try:
        return await engine.run().asFuture(loop)
    except asyncio.CancelledError:
        for future in list(sink_futures):  # the sink is cancelled too, as if the caller had awaited it directly
            future.cancel()
        raise
    finally:
        # Wait for a call of the sink that still runs after a cancel, because the program may close the sink next.
        await engine.settled().asFuture(loop)
