"""Clients of openai on our transports."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import openai

from eas_tw.httpx2 import AsyncTransport, Transport
from tests.openai.model import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.serving import Served


@asynccontextmanager
async def asynchronous(served: Served, service: str = "chat", **settings: Any) -> AsyncIterator[Any]:
    """Make an `openai.AsyncOpenAI` on a transport. openai gets the settings `timeout` and `max_retries`."""
    ours = {name: settings.pop(name) for name in ("timeout", "max_retries") if name in settings}
    transport = AsyncTransport(served.ready["url"], service, **{"token": TOKEN, "endpoint_type": "DIRECT", **settings})
    async with httpx2.AsyncClient(transport=transport) as http:
        yield openai.AsyncOpenAI(
            base_url="http://eas/v1",
            api_key="unused",
            http_client=http,
            **{"max_retries": 0, "timeout": 60, **ours},
        )


def blocking(served: Served, service: str = "chat", **settings: Any) -> Any:
    """Make an `openai.OpenAI` on a transport."""
    transport = Transport(served.ready["url"], service, **{"token": TOKEN, "endpoint_type": "DIRECT", **settings})
    http = httpx2.Client(transport=transport)
    return openai.OpenAI(base_url="http://eas/v1", api_key="unused", http_client=http, max_retries=0, timeout=60)
