"""Call a TorchScript model, with inputs and outputs by their index.

python torch_request.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com TOKEN
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient, TorchRequest


async def main(reactor, endpoint, token):
    request = TorchRequest()
    request.add_feed(0, [2, 3], TorchRequest.DT_FLOAT, [[1, 2, 3], [6, 5, 4]])
    request.add_fetch(0)
    request.add_fetch(1)
    client = PredictClient(
        endpoint,
        "torch",
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        response = await client.predict(request)
        print(response.get_values(0))  # the means of the rows
        print(response.as_numpy(1))  # the indexes of their largest elements


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
