"""Requests and responses of Blade and Caffe. `test_kinds` has the tests of their tensors."""

from __future__ import annotations

from typing import Any

import pytest

from eas_tw import BladeRequest, BladeResponse, BodyError, CaffeRequest, CaffeResponse
from eas_tw.body import schema

Blade = schema.message("eas_tw.blade.Request")
Array = schema.message("eas_tw.blade.Array")


def blade(*arrays: Any) -> BladeResponse:
    return BladeResponse(schema.message("eas_tw.blade.Response")(outputs=arrays).SerializeToString())


def caffe(names: list[str], tensors: int) -> CaffeResponse:
    message = schema.message("eas_tw.caffe.PredictResponse")(output_name=names)
    for _ in range(tensors):
        message.output_data.add(data=[0.5])
    return CaffeResponse(message.SerializeToString())


def test_a_signature_may_be_left_out() -> None:
    """The official class requires a signature. Here the argument is optional; without it, the field is omitted."""
    assert BladeRequest().to_string() == b""
    assert BladeRequest("").to_string() == b"\n\x00"
    request = BladeRequest()
    request.set_signature_name("sig")
    assert Blade.FromString(request.to_string()).tf_signature_name == "sig"


def test_every_type_goes_into_its_field() -> None:
    request = BladeRequest("s")
    request.add_feed("a", 2, [2, 3], BladeRequest.DT_INT32, [1] * 6)
    request.add_feed("b", 2, [2, 3], BladeRequest.DT_INT64, [1] * 6)
    request.add_feed("c", 1, [1], BladeRequest.DT_STRING, [b"x"])
    request.add_fetch("o", BladeRequest.DT_INT64)
    assert request.to_string() == (
        b'\n\x01s\x12\x16\n\x01a\x12\x01a\x18\x02"\x04\n\x02\x02\x032\x06\x01\x01\x01\x01\x01\x01'
        b'\x12\x16\n\x01b\x12\x01b\x18\x02"\x04\n\x02\x02\x03:\x06\x01\x01\x01\x01\x01\x01'
        b'\x12\x10\n\x01c\x12\x01c\x18\x01"\x03\n\x01\x01B\x01x\x1a\x08\n\x01o\x12\x01o\x18\x03'
    )


@pytest.mark.parametrize("batchsize", [0, -1, 2**31, 1.5, "1"])
def test_the_batch_size_is_an_integer_of_at_least_1(batchsize: Any) -> None:
    """The batch size is a required int32 field of Blade's message."""
    with pytest.raises(BodyError, match="feed 'a': batchsize"):
        BladeRequest().add_feed("a", batchsize, [1], BladeRequest.DT_FLOAT, [1])


def test_a_fetch_of_an_unknown_type_is_refused() -> None:
    request = BladeRequest()
    with pytest.raises(BodyError, match="fetch 'o': 9 is no dtype"):
        request.add_fetch("o", 9)
    request.add_fetch("o", BladeRequest.DT_FLOAT)
    request.add_fetch("o", BladeRequest.DT_STRING)
    assert [info.data_type for info in Blade.FromString(request.to_string()).output_info] == [4]


def test_outputs_have_the_names_of_the_model() -> None:
    response = blade(Array(blade_blob_name="q", name_in_dl_model="w", batchsize=1, float_val=[1, 2]))
    assert response.output_names == ("w",)
    assert response.get_values("w") == response.get_values("w", BladeRequest.DT_FLOAT) == [1, 2]
    assert response.get_values("w", BladeRequest.DT_INT32) == []
    with pytest.raises(BodyError, match="no output 'q'"):
        response.get_values("q")


def test_an_output_of_two_types_must_be_asked_for_by_type() -> None:
    response = blade(Array(name_in_dl_model="w", batchsize=1, float_val=[1], string_val=[b"x"]))
    assert response.get_values("w", BladeRequest.DT_STRING) == [b"x"]
    with pytest.raises(BodyError, match="DT_FLOAT and DT_STRING"):
        response.as_numpy("w")


def test_caffe_sends_names_and_tensors_apart() -> None:
    request = CaffeRequest()
    request.add_feed("a", [1], [1])
    request.add_feed("b", content=[[2.0], [3.0]])
    request.add_fetch("out")
    read = schema.message("eas_tw.caffe.PredictRequest").FromString(request.to_string())
    assert (list(read.input_name), list(read.output_filter)) == (["a", "b"], ["out"])
    assert [list(tensor.data) for tensor in read.input_data] == [[1], [2, 3]]
    assert list(read.input_data[1].shape.dim) == [2, 1]
    assert read.SerializeToString() == request.to_string()
    assert CaffeRequest().to_string() == b""


@pytest.mark.parametrize(("names", "tensors"), [(["a"], 0), ([], 1), (["a", "b"], 1)])
def test_names_must_be_as_many_as_tensors(names: list[str], tensors: int) -> None:
    with pytest.raises(BodyError, match=f"no Caffe body.*{len(names)} names for {tensors} outputs"):
        caffe(names, tensors)


def test_caffe_outputs_have_names() -> None:
    assert caffe(["prob"], 1).output_names == ("prob",)
    assert caffe(["prob"], 1).get_values("prob") == [0.5]


@pytest.mark.parametrize("request_class", [BladeRequest, CaffeRequest])
def test_names_are_text(request_class: type) -> None:
    for name in (5, "\ud800"):
        with pytest.raises(BodyError, match="must be text"):
            request_class().add_fetch(name, *([1] if request_class is BladeRequest else []))
