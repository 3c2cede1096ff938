"""Send all calls of a user to the same instance, which has the user's data cached.

EAS_TOKEN=… python choose_by_user.py ENDPOINT ranker
"""

import asyncio
import os
import sys

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig
from eas_tw.aio import PredictClient

USERS = ["ada", "grace", "edsger", "barbara", "donald", "radia"]


async def main(endpoint, service):
    client = PredictClient(
        endpoint,
        service,
        token=os.environ["EAS_TOKEN"],
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        config=ClientConfig(balancer="hash"),
    )
    async with client:
        for user in USERS:
            seen = set()
            for number in range(5):
                async with client.stream(f"call {number}", key=user) as stream:
                    await stream.read()
                    seen.add(stream.instance.address)
            print(user, *seen)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
