"""Create a client with changed settings, and print its events.

EAS_TOKEN=… python configured.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com mnist
"""

import os
import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient


async def main(reactor, endpoint, service):
    token = os.environ["EAS_TOKEN"]
    config = ClientConfig(
        timeout_s=2.0,
        attempt_timeout_s=0.5,
        retry_on=ClientConfig().retry_on | {429},
    )
    client = PredictClient(
        endpoint,
        service,
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=config,
    )
    async with client:
        stop = client.listen(print)
        answer = await client.predict("[1]")
        stop()
        print(answer)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
