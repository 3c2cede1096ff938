"""Read a language model's answer while it arrives.

EAS_TOKEN=… python language_model.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com llm
"""

import json
import os
import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient, StreamBroken


async def main(reactor, endpoint, service):
    client = PredictClient(
        endpoint,
        service,
        token=os.environ["EAS_TOKEN"],
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        models = await client.request("GET", "v1/models")
        chat = {
            "model": models.json()["data"][0]["id"],
            "messages": [{"role": "user", "content": "What is a Deferred?"}],
            "max_tokens": 8,
            "stream": True,
        }
        try:
            async with client.stream(
                chat, path="v1/chat/completions", timeout_s=10.0
            ) as stream:
                async for event in stream.events():
                    if event.data != "[DONE]":
                        delta = json.loads(event.data)["choices"][0]["delta"]
                        print(delta.get("content") or "", end="", flush=True)
            print()
        except StreamBroken as error:
            print(f"\nbroke after {error.received_bytes} bytes: {error}")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
