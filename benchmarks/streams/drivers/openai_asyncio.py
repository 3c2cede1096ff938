"""Benchmark driver: openai on httpx2 and asyncio; with `--transport` on the transport of eas_tw."""

import asyncio
import time

import httpx2
import openai
from watching import REQUEST, Watch, options


async def main() -> None:
    given = options()
    base = f"http://127.0.0.1:{given.port}"
    if given.transport:
        # Without the option, the environment of this driver has no eas_tw.
        from eas_tw import ClientConfig  # noqa: PLC0415
        from eas_tw.httpx2 import AsyncTransport  # noqa: PLC0415

        config = ClientConfig(max_connections_per_instance=max(128, given.streams))
        transport = AsyncTransport(f"127.0.0.1:{given.port}", "bench", token="t", endpoint_type="DIRECT", config=config)
        http = httpx2.AsyncClient(transport=transport)
        url = f"{base}/v1"
    else:
        http = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None))
        url = f"{base}/api/predict/bench/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="t", http_client=http, max_retries=0, timeout=60) as llm:
        watch = Watch(given.streams)

        async def read() -> None:
            began, is_first = time.monotonic(), True
            async for event in await llm.chat.completions.create(**REQUEST):
                if is_first:
                    is_first = False
                    watch.first(began, event.sent)
                else:
                    watch.more()
            watch.ended()

        await asyncio.gather(*(read() for _ in range(given.streams)))
        watch.report()


asyncio.run(main())
