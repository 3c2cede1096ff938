"""The clients for asyncio programs, whose methods are coroutines.

    async with eas_tw.aio.PredictClient(endpoint, service, token=token, endpoint_type=ENDPOINT_TYPE_DIRECT) as client:
        response = await client.predict('[{"money_credit": 3000000}]')

A client can be created without a running loop; `init`, which `async with` awaits, binds it to the running loop.
"""

from typing import TYPE_CHECKING

from eas_tw.aio.client import PredictClient
from eas_tw.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from eas_tw.aio.queue import QueueClient, Watcher
    from eas_tw.bulk.asynchronous import score

__all__ = ["PredictClient", "QueueClient", "Watcher", "score"]

if not TYPE_CHECKING:
    # Lazy, because `eas_tw.bulk` imports this package, and because the queue client needs wsproto, which other programs
    # should not load.
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "QueueClient": "eas_tw.aio.queue",
            "Watcher": "eas_tw.aio.queue",
            "score": "eas_tw.bulk.asynchronous",
        },
    )
