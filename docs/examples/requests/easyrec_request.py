"""Call an EasyRec model: send a user and items, and get the items' scores.

python easyrec_request.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com TOKEN
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, EasyRecRequest, PredictClient
from eas_tw.body.schema.easyrec_predict_pb2 import PBRequest


async def main(reactor, endpoint, token):
    message = PBRequest(item_ids=["i1", "i2"])
    message.context_features["price"].features.add().float_feature = 9.5
    request = EasyRecRequest()
    request.add_feed(message, debug_level=1)
    request.add_user_fea_int("age", 30)
    request.add_user_fea_str("city", "上海")
    client = PredictClient(
        endpoint,
        "easyrec",
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        response = await client.predict(request)
        for item, result in sorted(response.results.items()):
            print(item, list(result.scores))
        print(response.generate_features["age"])


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
