"""Call a Caffe model, with named blobs of 32-bit floats.

python caffe_request.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com TOKEN
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, CaffeRequest, PredictClient


async def main(reactor, endpoint, token):
    request = CaffeRequest()
    request.add_feed("data", [1, 1, 2, 2], [[0.0, 0.5], [0.75, 1.0]])
    request.add_fetch("data")
    client = PredictClient(
        endpoint,
        "caffe",
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        response = await client.predict(request)
        print(response.output_names, response.as_numpy("data").shape)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
