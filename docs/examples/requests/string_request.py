"""Call a custom processor that takes and returns text.

python string_request.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com TOKEN
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient, StringRequest


async def main(reactor, endpoint, token):
    request = StringRequest('[{"money_credit": 3000000}]')
    client = PredictClient(
        endpoint,
        "echo",
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        response = await client.predict(request)
        print(response)  # the text
        print(len(response.content))  # the bytes


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
