"""Call an ONNX model, with arrays as inputs and outputs.

python onnx_request.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com TOKEN
"""

import sys

import numpy as np
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, OnnxDataHelper, OnnxRequest, PredictClient


async def main(reactor, endpoint, token):
    request = OnnxRequest()
    request.add_tensor(
        OnnxDataHelper.from_array(np.ones((1, 3), np.float32), "x")
    )  # as in the official SDK
    request.add_feed(
        "mask", content=np.array([[1, 0, 1]], np.uint8)
    )  # as for every other kind of request
    client = PredictClient(
        endpoint,
        "onnx",
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        response = await client.predict(request)
        for index in range(response.get_size()):
            print(
                response.get_name(index),
                OnnxDataHelper.to_array(response.get_tensor(index)).dtype,
            )
        print(response.as_numpy("mask"))


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
