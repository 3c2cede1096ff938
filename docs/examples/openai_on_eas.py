"""Use `openai` with a service of PAI-EAS, over the VPC direct connection.

EAS_TOKEN=… python openai_on_eas.py ENDPOINT SERVICE MODEL

ENDPOINT is the region's, such as http://pai-eas-vpc.cn-shanghai.aliyuncs.com.
"""

import asyncio
import os
import sys

import httpx2
from openai import AsyncOpenAI

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig
from eas_tw.httpx2 import AsyncTransport


async def main(endpoint, service, model):
    transport = AsyncTransport(
        endpoint,
        service,
        token=os.environ.get("EAS_TOKEN", ""),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        config=ClientConfig(auth="bearer"),
    )
    llm = AsyncOpenAI(
        base_url="http://eas/v1",  # only the path is used
        api_key="unused",  # replaced by the token
        http_client=httpx2.AsyncClient(transport=transport),
        max_retries=0,  # the transport retries
    )
    async with llm:
        stream = await llm.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=8,
            stream=True,
        )
        async for event in stream:
            print(event.choices[0].delta.content or "", end="", flush=True)
        print()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
