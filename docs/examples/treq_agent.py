"""Call a service by its URL, with treq on a PredictClient.

EAS_TOKEN=… python treq_agent.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com echo
"""

import os
import sys

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient
from eas_tw.service import EasAgent


async def main(reactor, endpoint, service):
    client = PredictClient(
        endpoint,
        service,
        token=os.environ["EAS_TOKEN"],
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        http = HTTPClient(EasAgent(client))
        url = f"eas://{service.replace('_', '-')}"
        response = await http.post(
            url, json=[{"money_credit": 3000000}], params={"uid": "7"}, timeout=2
        )
        print(response.code, await response.json())


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
