"""Call a saved model of TensorFlow, with named tensors as inputs and outputs.

python tf_request.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com TOKEN
"""

import sys

import numpy as np
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient, TFRequest


async def main(reactor, endpoint, token):
    request = TFRequest("serving_default")
    request.add_feed(
        "ids", [1, 3], TFRequest.DT_INT64, [7, 8, 9]
    )  # a list, with shape and type
    request.add_feed(
        "image", content=np.zeros((1, 2, 2), np.float32)
    )  # an array has both
    request.add_feed("city", content=["上海"])
    request.add_fetch("ids")
    request.add_fetch("image")
    client = PredictClient(
        endpoint,
        "tf",
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        response = await client.predict(request)
        print(response.get_tensor_shape("ids"), response.get_values("ids"))
        print(response.as_numpy("image").shape)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
