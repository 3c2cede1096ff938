"""Put requests into a queue service, and wait for each result.

EAS_TOKEN=… python queue_submit.py ENDPOINT qservice
"""

import json
import os
import sys

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, QueueClient


async def main(reactor, endpoint, service):
    queue = QueueClient(
        endpoint,
        service,
        token=os.environ["EAS_TOKEN"],
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with queue:
        prompts = ["a cat", "a dog"]
        puts = await gatherResults([queue.put({"prompt": p}) for p in prompts])
        for put in puts:
            frames = await queue.sink().get(request_id=put.request_id, timeout_s=600)
            for frame in frames:  # none, if there is no result after 600 s
                print(json.loads(frame.data))


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
