"""Call a model that Blade has optimised, with named tensors and a batch size.

python blade_request.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com TOKEN
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, BladeRequest, PredictClient


async def main(reactor, endpoint, token):
    request = BladeRequest("serving_default")
    request.add_feed("x", 2, [2, 2], BladeRequest.DT_FLOAT, [[1, 2], [3, 4]])
    request.add_fetch("x", BladeRequest.DT_FLOAT)
    client = PredictClient(
        endpoint,
        "blade",
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        response = await client.predict(request)
        print(
            response.get_tensor_shape("x"),
            response.get_values("x", BladeRequest.DT_FLOAT),
        )


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
