"""Call a TorchRec model, with typed features of a user and of items.

python torchrec_request.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com TOKEN
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient, TorchRecRequest


async def main(reactor, endpoint, token):
    request = TorchRecRequest()
    request.add_user_fea("age", 30, "INT")
    request.add_user_fea("recent_items", [10086, 10010], "LIST<BIGINT>")
    request.add_user_fea("clicks", {"sports": 3, "news": 1}, "MAP<STRING,INT>")
    for item, price in (("i1", 9.5), ("i2", 12.0)):
        request.add_item_id(item)
        request.add_item_fea("price", price, "FLOAT")
    client = PredictClient(
        endpoint,
        "torchrec",
        token=token,
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    )
    async with client:
        response = await client.predict(request)
        scores = response.get_values("scores")
        for item, score in zip(response.item_ids, scores, strict=True):
            print(item, score)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
