"""Requests and responses of PyTorch. `test_kinds` has the tests of their tensors."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw import BodyError, TorchRequest, TorchResponse
from eas_tw.body import schema
from eas_tw.body.compression import decompress

Request = schema.message("eas_tw.torch.PredictRequest")


def fed(**options: Any) -> TorchRequest:
    request = TorchRequest(**options)
    request.add_feed(0, [2], TorchRequest.DT_FLOAT, [1, 2])
    return request


def test_indices_that_are_left_out_are_empty_inputs() -> None:
    request = TorchRequest()
    request.add_feed(2, [1], TorchRequest.DT_FLOAT, [1.0])
    request.add_feed(0, [1], TorchRequest.DT_FLOAT, [2.0])
    assert request.to_string() == bytes.fromhex("0a0d080112030a01011a04000000400a000a0d080112030a01011a040000803f")


def test_inputs_by_index_and_by_name_can_be_combined() -> None:
    request = fed()
    request.add_feed_map("k", [1], TorchRequest.DT_INT64, [-1])
    request.add_fetch(3)
    request.add_fetch(1)
    request.set_debug_level(-1)
    body = request.to_string()
    read = Request.FromString(body)
    assert (len(read.inputs), list(read.output_filter), read.debug_level) == (1, [3, 1], -1)
    assert list(read.map_inputs["k"].int64_val) == [-1]
    assert read.SerializeToString() == body


def test_the_same_fetch_twice_is_sent_once() -> None:
    request = TorchRequest()
    for index in (1, -1, 1):
        request.add_fetch(index)
    assert list(Request.FromString(request.to_string()).output_filter) == [1, -1]


def test_the_debug_level_can_be_reset() -> None:
    request = TorchRequest()
    request.set_debug_level(6)
    request.set_debug_level()
    assert request.to_string() == b""


def test_the_flag_compresses_with_snappy() -> None:
    assert fed(flag=True).to_string() == b"\x13H" + fed().to_string()
    assert decompress("snappy", fed(flag=True).to_string(), 100) == fed().to_string()


@pytest.mark.parametrize("index", [-1, 1 << 16, "x", 1.0, None])
def test_a_wrong_index_is_refused(index: Any) -> None:
    with pytest.raises(BodyError, match="the index of a feed must be"):
        TorchRequest().add_feed(index, [1], TorchRequest.DT_FLOAT, [1.0])


def test_bools_have_no_field() -> None:
    """The official SDK silently sends no value. This client rejects an array of bools and a list of bools."""
    for dtype, content in ((TorchRequest.DT_BOOL, [True]), (None, [True])):
        with pytest.raises(BodyError, match=r"feed 0: this body has no (field|dtype) for"):
            TorchRequest().add_feed(0, [1], dtype, content)


def test_strings_are_sent() -> None:
    request = TorchRequest()
    request.add_feed(0, None, None, ["a", "名"])
    assert list(Request.FromString(request.to_string()).inputs[0].string_val) == [b"a", "名".encode()]


def test_outputs_of_the_map_have_separate_methods() -> None:
    message = schema.message("eas_tw.torch.PredictResponse")()
    message.outputs.add(dtype=1, float_val=[0.5])
    message.map_outputs["z"].CopyFrom(schema.message("eas_tw.torch.ArrayProto")(dtype=9, int64_val=[7]))
    message.map_outputs["z"].array_shape.dim.append(1)
    response = TorchResponse(message.SerializeToString())
    assert (response.get_tensor_shape_map("z"), response.get_values_map("z")) == ([1], [7])
    assert response.get_values("z") == [7]
    assert response.get_values(-1) == response.get_values(0) == [0.5]
    assert response.output_names == ("z",)
    with pytest.raises(BodyError, match="has a name"):
        response.get_values_map(0)  # type: ignore[arg-type]
    assert repr(response) == f"TorchResponse(outputs=[0, 'z'], {len(response.content)} bytes)"
