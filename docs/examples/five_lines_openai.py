"""The README's example for `openai`, as a complete program."""

import asyncio
import sys

import httpx2
from openai import AsyncOpenAI

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig
from eas_tw.httpx2 import AsyncTransport


def language_model(endpoint, service, token):
    transport = AsyncTransport(
        endpoint,
        service,
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        config=ClientConfig(auth="bearer"),
    )
    return AsyncOpenAI(
        base_url="http://eas/v1",  # only the path is used
        api_key="unused",  # replaced by the token
        http_client=httpx2.AsyncClient(transport=transport),
        max_retries=0,  # the transport retries
    )


async def main(endpoint, service, token, model):
    async with language_model(endpoint, service, token) as llm:
        answer = await llm.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Say hello."}]
        )
        print(answer.choices[0].message.content)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
