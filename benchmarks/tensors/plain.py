"""Tensor driver: plain protobuf (upb), used efficiently: `extend` with a list, `np.array` of the field."""

import numpy as np
from measuring import DTYPES, main

from eas_tw.body.schema.tf_predict_pb2 import PredictRequest, PredictResponse


def write(dtype, content):
    _, number, field, _, _ = DTYPES[dtype]
    request = PredictRequest(signature_name="s")
    array = request.inputs["x"]
    array.dtype = number
    array.array_shape.dim.append(len(content))
    getattr(array, field).extend(content if isinstance(content, list) else content.tolist())
    return request.SerializeToString()


def read(dtype, body, source):
    values = getattr(PredictResponse.FromString(body).outputs["y"], DTYPES[dtype][2])
    return np.array(values, DTYPES[dtype][3]) if source == "array" else list(values)


main(write, read)
