"""Types of requests, responses and messages. mypy checks this file, and nothing runs it."""

from __future__ import annotations

from array import array
from typing import assert_type

import numpy as np

from eas_tw import (
    BladeRequest,
    CaffeRequest,
    EasyRecRequest,
    EasyRecResponse,
    JsonRequest,
    JsonResponse,
    OnnxData,
    OnnxDataHelper,
    OnnxRequest,
    Request,
    TFRequest,
    TorchRecRequest,
    TorchRequest,
    TorchResponse,
)
from eas_tw.body.schema.easyrec_predict_pb2 import PBRequest, PBResponse
from eas_tw.body.schema.torchrec_predict_pb2 import PBFeature


def tensors() -> list[Request]:
    """Shape and dtype are optional, and content may have any type. Each request class is a `Request`."""
    tf, torch, blade, onnx, caffe = TFRequest(), TorchRequest(), BladeRequest(), OnnxRequest(), CaffeRequest()
    tf.add_feed("x", [1, 3], TFRequest.DT_FLOAT, [1, 2, 3])
    tf.add_feed("x", content=np.zeros((1, 3)))
    torch.add_feed(0, None, TorchRequest.DT_INT64, array("q", [1]))
    torch.add_feed_map("x", (1,), content=memoryview(b"x"))
    blade.add_feed("x", 1, [1], BladeRequest.DT_INT32, range(3))
    caffe.add_feed("x", content=[[1.0]])
    onnx.add_tensor(OnnxDataHelper.from_array(np.zeros(3), "x"))
    assert_type(OnnxDataHelper.from_array(np.zeros(3), "x"), OnnxData.TensorProto)
    return [tf, torch, blade, onnx, caffe]


def messages() -> PBRequest:
    """The fields of messages have types."""
    message = PBRequest(item_ids=["a"], debug_level=1)
    message.user_features["age"].int_feature = 30
    message.item_ids.append("b")
    feature = PBFeature()
    feature.long_string_map.map_field[7] = "x"
    request = EasyRecRequest()
    request.add_feed(message, debug_level=1)
    TorchRecRequest().add_user_fea("l", np.zeros(3), "LIST<FLOAT>")
    return message


def answers(easyrec: EasyRecResponse, torch: TorchResponse) -> list[float]:
    """The fields of responses have types."""
    assert_type(easyrec, EasyRecResponse)
    assert_type(easyrec.message, PBResponse)
    assert_type(torch.get_tensor_shape(0), list[int])
    assert_type(JsonRequest({}).parse_response(b"{}"), JsonResponse)
    return list(easyrec.message.results["a"].scores)
