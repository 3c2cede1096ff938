"""Start with the list of the last run when the control plane does not answer.

EAS_TOKEN=… python prepared_start.py ENDPOINT SERVICE FOLDER
"""

import os
import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient


async def main(reactor, endpoint, service, folder):
    client = PredictClient(
        endpoint,
        service,
        token=os.environ.get("EAS_TOKEN", ""),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=ClientConfig(snapshot_path=folder, init_timeout_s=2.0),
    )
    async with client:
        print(await client.predict("[1]"))
        print("the list is from the disk:", client.discovery.accepted == 0)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
