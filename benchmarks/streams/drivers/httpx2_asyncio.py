"""Benchmark driver: httpx2 on asyncio, which reads lines; with `--transport` on the transport of eas_tw."""

import asyncio
import time

import httpx2
from watching import REQUEST, Watch, options, sent_at


async def main() -> None:
    given = options()
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    transport = None
    if given.transport:
        # Without the option, the environment of this driver has no eas_tw.
        from eas_tw import ClientConfig  # noqa: PLC0415
        from eas_tw.httpx2 import AsyncTransport  # noqa: PLC0415

        config = ClientConfig(max_connections_per_instance=max(128, given.streams))
        transport = AsyncTransport(f"127.0.0.1:{given.port}", "bench", token="t", endpoint_type="DIRECT", config=config)
    path = "/v1/chat/completions" if given.transport else "/api/predict/bench/v1/chat/completions"
    async with httpx2.AsyncClient(limits=limits, transport=transport, timeout=60) as http:
        watch = Watch(given.streams)

        async def read() -> None:
            began, is_first = time.monotonic(), True
            async with http.stream("POST", f"http://127.0.0.1:{given.port}{path}", json=REQUEST) as response:
                async for line in response.aiter_lines():
                    if not line.startswith("data: "):
                        continue
                    if is_first:
                        is_first = False
                        watch.first(began, sent_at(line[6:]))
                    else:
                        watch.more()
            watch.ended()

        await asyncio.gather(*(read() for _ in range(given.streams)))
        watch.report()


asyncio.run(main())
