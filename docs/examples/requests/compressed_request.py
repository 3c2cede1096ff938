"""Call a service with `rpc.decompressor = zstd`.

python compressed_request.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com TOKEN
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, ClientConfig, PredictClient


async def main(reactor, endpoint, token):
    text = "the same words again and again, " * 1000
    client = PredictClient(
        endpoint,
        "takes-zstd",
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
        config=ClientConfig(compress="zstd"),
    )
    async with client:
        response = await client.predict(text)
        print(str(response) == text)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
