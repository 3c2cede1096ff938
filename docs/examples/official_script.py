"""A program written for the official SDK: only its import line has changed.

EAS_TOKEN=… python official_script.py http://pai-eas-vpc.cn-shanghai.aliyuncs.com
"""

import os
import sys

from eas_tw.blocking import (
    ENDPOINT_TYPE_DIRECT,
    PredictClient,
    PredictException,
    StringRequest,
    TFRequest,
)

if __name__ == "__main__":
    client = PredictClient(sys.argv[1], "scorecard_pmml_example")
    client.set_token(os.environ.get("EAS_TOKEN", ""))
    client.set_endpoint_type(ENDPOINT_TYPE_DIRECT)
    client.init()

    request = StringRequest('[{"money_credit": 3000000}]')
    for _ in range(3):
        response = client.predict(request)
        print(response.response_data)
    client.destroy()

    client = PredictClient(sys.argv[1], "mnist_saved_model_example")
    client.set_token(os.environ.get("EAS_TOKEN", ""))
    client.set_endpoint_type(ENDPOINT_TYPE_DIRECT)
    client.set_timeout(2000)
    client.init()

    request = TFRequest("predict_images")
    request.add_feed("images", [1, 784], TFRequest.DT_FLOAT, [1] * 784)
    response = client.predict(request)
    print(response.get_tensor_shape("scores"))

    client.set_token("not the token")
    try:
        client.predict(request)
    except PredictException as error:
        print(error.code)
