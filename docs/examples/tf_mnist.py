"""Call `mnist_saved_model_example` with a tensor: the vendor's TensorFlow example.

EAS_TOKEN=… python tf_mnist.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com
"""

import argparse
import os

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eas_tw import ENDPOINT_TYPE_DIRECT, PredictClient, TFRequest


async def predict(reactor: object, endpoint: str) -> None:
    """Predict once, and print the scores."""
    async with PredictClient(
        endpoint,
        "mnist_saved_model_example",
        token=os.environ.get("EAS_TOKEN", ""),
        endpoint_type=ENDPOINT_TYPE_DIRECT,
        reactor=reactor,
    ) as client:
        request = TFRequest("predict_images")
        request.add_feed("images", [1, 784], TFRequest.DT_FLOAT, [1] * 784)
        response = await client.predict(request)
        print(response.get_tensor_shape("scores"), response.get_values("scores"))


def main(reactor: object) -> Deferred[None]:
    """Read the command line, and run `predict`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "endpoint", help="the region's VPC endpoint, or a simulator's URL"
    )
    return Deferred.fromCoroutine(predict(reactor, parser.parse_args().endpoint))


if __name__ == "__main__":
    react(main)
