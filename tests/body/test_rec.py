"""Requests of EasyRec and TorchRec with features of every type, and responses that are protobuf messages."""

from __future__ import annotations

import contextlib
import math
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eas_tw import BodyError, EasyRecRequest, EasyRecResponse, TorchRecRequest, TorchRecResponse
from eas_tw.body import schema
from eas_tw.body.schema import easyrec_predict_pb2 as easyrec
from eas_tw.body.schema import torchrec_predict_pb2 as torchrec

SCALARS = {
    # name of the type: (prefix of the fields, a valid value, a value of a wrong type)
    "STRING": ("string", "名", 5),
    "FLOAT": ("float", 1.5, "1.5"),
    "DOUBLE": ("double", 0.1, None),
    "INT": ("int", -(2**31), 2**31),
    "BIGINT": ("long", 2**63 - 1, 2**63),
    "INT64": ("long", -(2**63), 1.0),
}
KEYS = {name: SCALARS[name][:2] for name in ("STRING", "INT", "BIGINT", "INT64")}


def feature(value: Any, dtype: str) -> Any:
    """Return the message of a user feature, as a service parses it."""
    request = TorchRecRequest()
    request.add_user_fea("k", value, dtype)
    return torchrec.PBRequest.FromString(request.to_string()).user_features["k"]


@pytest.mark.parametrize("name", SCALARS)
def test_scalars(name: str) -> None:
    """Names of types are case-insensitive. The error for a wrong value names the feature."""
    kind, value, wrong = SCALARS[name]
    for dtype in (name, name.lower(), f" {name} "):
        read = feature(value, dtype)
        assert read.WhichOneof("value") == f"{kind}_feature"
        assert getattr(read, f"{kind}_feature") == value
    with pytest.raises(BodyError, match="user feature 'k'"):
        feature(wrong, name)


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("outer", ["LIST", "ARRAY"])
def test_lists_and_lists_of_lists(name: str, outer: str) -> None:
    """An empty list is sent with its type; the official SDK sends an empty string instead."""
    kind, value, wrong = SCALARS[name]
    for values in ([], [value], (value, value)):
        read = feature(values, f"{outer}<{name}>")
        assert read.WhichOneof("value") == f"{kind}_list"
        assert list(getattr(read, f"{kind}_list").features) == list(values)
    for rows in ([], [[]], [[value], [], [value, value]]):
        read = feature(rows, f"{outer}<{outer}<{name}>>")
        assert read.WhichOneof("value") == f"{kind}_lists"
        assert [list(row.features) for row in getattr(read, f"{kind}_lists").lists] == rows
    with pytest.raises(BodyError, match=r"user feature 'k'.*1"):
        feature([value, wrong], f"{outer}<{name}>")
    with pytest.raises(BodyError, match="user feature 'k': row 1"):
        feature([[value], [wrong]], f"{outer}<{outer}<{name}>>")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", SCALARS)
def test_maps(key: str, name: str) -> None:
    """Maps of every key and value type. Keys that are strings, as in JSON, are converted to numbers."""
    (key_kind, key_value), (kind, value, wrong) = KEYS[key], SCALARS[name]
    field = f"{key_kind}_{kind}_map"
    for mapping in ({}, {key_value: value}, {str(key_value): value}):
        read = feature(mapping, f"MAP<{key}, {name}>")
        assert read.WhichOneof("value") == field
        assert dict(getattr(read, field).map_field) == ({key_value: value} if mapping else {})
    with pytest.raises(BodyError, match="user feature 'k': key"):
        feature({key_value: wrong}, f"MAP<{key},{name}>")
    with pytest.raises(BodyError, match="user feature 'k': key"):
        feature({1.5: value}, f"MAP<{key},{name}>")


@pytest.mark.parametrize(
    "content", [np.array([1.5, 2.5], "f4"), array("d", [1.5, 2.5]), memoryview(array("f", [1.5, 2.5]))]
)
def test_lists_may_be_arrays(content: Any) -> None:
    assert list(feature(content, "LIST<FLOAT>").float_list.features) == [1.5, 2.5]
    assert [list(row.features) for row in feature([content], "LIST<LIST<DOUBLE>>").double_lists.lists] == [[1.5, 2.5]]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "LONG"),
        (1, "LIST<>"),
        ([1], "LIST<BOGUS>"),
        ({1.5: 1}, "MAP<FLOAT,INT>"),
        ({1: 1}, "MAP<INT>"),
        ([[[1]]], "LIST<LIST<LIST<INT>>>"),
        (1, None),
        (1, 3),
    ],
)
def test_an_unknown_type_is_refused(value: Any, dtype: Any) -> None:
    with pytest.raises(BodyError, match=r"is no type of a feature; use STRING, FLOAT.*LIST<…>"):
        feature(value, dtype)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "LIST<INT>"),
        ("ab", "LIST<STRING>"),
        ([[1]], "LIST<INT>"),
        (np.ones((2, 2)), "LIST<FLOAT>"),
        ({1: 2}, "LIST<INT>"),
        ("ab", "LIST<LIST<STRING>>"),
        (5, "LIST<LIST<INT>>"),
        ([5], "LIST<LIST<INT>>"),
        ([1], "MAP<INT,INT>"),
        (5, "MAP<INT,INT>"),
        ({"x": 1}, "MAP<INT,INT>"),
        ("\ud800", "STRING"),
        (b"\xff", "STRING"),
        (math.nan, "INT"),
    ],
)
def test_a_value_of_another_shape_is_refused(value: Any, dtype: str) -> None:
    with pytest.raises(BodyError, match="user feature 'k'"):
        feature(value, dtype)


def test_features_of_the_same_name() -> None:
    """As in the official SDK, the last value of a user feature is sent, and all values of context and item features."""
    request = TorchRecRequest()
    for value in (1, 2):
        request.add_user_fea("k", value, "INT")
        request.add_context_fea("k", value, "INT")
        request.add_item_fea("k", value, "INT")
    read = torchrec.PBRequest.FromString(request.to_string())
    assert read.user_features["k"].int_feature == 2
    assert [part.int_feature for part in read.context_features["k"].features] == [1, 2]
    assert [part.int_feature for part in read.item_features["k"].features] == [1, 2]


def test_a_feature_that_was_refused_changes_nothing() -> None:
    request = TorchRecRequest()
    for add in (request.add_user_fea, request.add_context_fea, request.add_item_fea):
        with pytest.raises(BodyError):
            add("k", "x", "INT")
        with pytest.raises(BodyError, match="the name of"):
            add(5, 1, "INT")  # type: ignore[arg-type]
    easy = EasyRecRequest()
    for call, value in ((easy.add_user_fea_int, "x"), (easy.add_user_fea_flt, "x"), (easy.add_user_fea_int, 2**31)):
        with pytest.raises(BodyError, match="user feature 'k'"):
            call("k", value)  # type: ignore[arg-type]
    assert request.to_string() == easy.to_string() == b""


def test_numbers_and_text_are_converted_to_the_type_of_the_field() -> None:
    """As in the official SDK, ids, meta data and EasyRec's text features accept numbers, and numbers accept text."""
    request = TorchRecRequest()
    request.add_item_id(5)
    request.add_meta_data("k", 5)
    assert request.to_string() == b"\x1a\x015:\x06\n\x01k\x12\x015"
    easy = EasyRecRequest()
    easy.add_user_fea_str("s", 1)
    easy.add_user_fea_int("i", "1")
    easy.add_user_fea_flt("f", "1.5")  # type: ignore[arg-type]
    features = easyrec.PBRequest.FromString(easy.to_string()).user_features
    assert (features["s"].string_feature, features["i"].int_feature, features["f"].float_feature) == ("1", 1, 1.5)


@pytest.mark.parametrize(("kind", "module"), [(EasyRecRequest, easyrec), (TorchRecRequest, torchrec)])
class TestWholeMessages:
    def test_a_feed_replaces_the_request(self, kind: Any, module: Any) -> None:
        message = module.PBRequest(item_ids=["a", "b"], debug_level=4)
        for data in (message, message.SerializeToString(), bytearray(message.SerializeToString())):
            request = kind()
            request.set_faiss_neigh_num(9)
            request.add_feed(data, 1)
            assert request.to_string() == b"\x08\x01\x1a\x01a\x1a\x01b"
            request.add_feed(data)
            request.add_item_id("c")
            request.set_faiss_neigh_num(3)
            assert request.to_string() == b"\x1a\x01a\x1a\x01b\x1a\x01c(\x03"

    def test_the_callers_message_is_left_alone(self, kind: Any, module: Any) -> None:
        message = module.PBRequest(item_ids=["a", "b"])
        request = kind()
        request.add_feed(message)
        request.add_item_id("c")
        message.item_ids.append("d")
        assert list(message.item_ids) == ["a", "b", "d"]
        assert request.to_string() == b"\x1a\x01a\x1a\x01b\x1a\x01c"

    @pytest.mark.parametrize("data", ["xx", 5, None, b"<html>", [1]])
    def test_a_feed_of_something_else_is_refused(self, kind: Any, module: Any, data: Any) -> None:
        """Text, other objects and bytes of another message are refused, and the request does not change."""
        request = kind()
        request.add_item_id("a")
        with pytest.raises(BodyError, match="feed"):
            request.add_feed(data)
        assert request.to_string() == b"\x1a\x01a"

    def test_numbers_of_the_request_are_int32(self, kind: Any, module: Any) -> None:
        request = kind()
        for call in (request.set_faiss_neigh_num, request.set_debug_level, lambda level: request.add_feed(b"", level)):
            for wrong in (2**31, 1.5, "1", None):
                with pytest.raises(BodyError, match="must be"):
                    call(wrong)
        request.set_debug_level(3)
        request.set_debug_level()
        assert request.to_string() == b""
        assert "items" in repr(request)

    def test_the_same_request_is_the_same_bytes(self, kind: Any, module: Any) -> None:
        names = [f"f{number}" for number in range(20)]
        bodies = set()
        for order in (names, names[::-1]):
            message = module.PBRequest()
            for name in order:
                message.user_features[name].int_feature = 1
            request = kind()
            request.add_feed(message)
            bodies.add(request.to_string())
        assert len(bodies) == 1


def test_keep_one_item_ids_requires_an_item_id() -> None:
    request = EasyRecRequest("sig", "tf")
    request.set_signature_name("other")
    with pytest.raises(BodyError, match="no item ids"):
        request.keep_one_item_ids()
    for item in "ab":
        request.add_item_id(item)
    request.keep_one_item_ids()
    assert request.to_string() == b"\x1a\x01a"


def test_a_response_has_the_fields_of_its_message() -> None:
    message = easyrec.PBResponse(item_ids=["i1"], status_code=easyrec.OK)
    message.results["i1"].scores.append(0.25)
    message.tf_outputs["probs"].dtype = 1
    message.tf_outputs["probs"].float_val.extend([0.5, 0.75])
    message.tf_outputs["probs"].array_shape.dim.extend([1, 2])
    response = EasyRecRequest().parse_response(message.SerializeToString())
    assert isinstance(response, EasyRecResponse)
    assert response.message == message
    assert list(response.results["i1"].scores) == [0.25]
    assert list(response.item_ids) == ["i1"]
    assert str(response) == response.to_string() == str(message)
    assert response.content == message.SerializeToString()
    assert response.as_numpy("probs").tolist() == [[0.5, 0.75]]
    assert response.output_names == ("probs",)
    with pytest.raises(AttributeError, match="scores"):
        response.scores  # noqa: B018


def test_tensors_of_torchrec() -> None:
    """`map_outputs` gives the same values through the message and through the methods for tensors."""
    message = torchrec.PBResponse(item_ids=["a"])
    message.map_outputs["logits"].CopyFrom(schema.message("eas_tw.torch.ArrayProto")(dtype=9, int64_val=[-1]))
    response = TorchRecRequest().parse_response(message.SerializeToString())
    assert isinstance(response, TorchRecResponse)
    assert response.get_values("logits") == list(response.map_outputs["logits"].int64_val) == [-1]
    with pytest.raises(BodyError, match=r"no output 'x'; the response has \['logits'\]"):
        response.get_values("x")


@pytest.mark.parametrize("kind", [EasyRecRequest, TorchRecRequest])
def test_a_damaged_response_is_a_response_or_a_body_error(kind: Any) -> None:
    """Valid responses with some changed bytes raise `BodyError` or parse, with any version of protobuf."""
    module, field = (easyrec, "tf_outputs") if kind is EasyRecRequest else (torchrec, "map_outputs")
    message = module.PBResponse(item_ids=["a"])
    getattr(message, field)["y"].dtype = 9
    getattr(message, field)["y"].int64_val.extend([1, -1])
    body = message.SerializeToString()

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.lists(st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255)), min_size=1, max_size=3))
    def check(damages: list[tuple[int, int]]) -> None:
        damaged = bytearray(body)
        for at, byte in damages:
            damaged[at] = byte
        with contextlib.suppress(BodyError):
            response = kind().parse_response(damaged)
            str(response)
            for name in response.output_names:
                response.get_values(name)

    check()


def test_a_response_cut_short_is_a_body_error() -> None:
    whole = easyrec.PBResponse(error_msg="x" * 20).SerializeToString()
    for length in range(1, len(whole)):
        with pytest.raises(BodyError, match="no EasyRec body"):
            EasyRecResponse(whole[:length])
