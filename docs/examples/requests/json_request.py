"""Call a service that takes and returns JSON.

python json_request.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com TOKEN
"""

import sys

import numpy as np
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, JsonRequest, PredictClient


async def main(reactor, endpoint, token):
    request = JsonRequest({"rows": np.eye(2), "user": "李雷"})
    client = PredictClient(
        endpoint,
        "json",
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        response = await client.predict(request)
        print(response.data["rows"])
        print(response.content)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
