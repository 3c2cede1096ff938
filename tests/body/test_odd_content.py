"""Unusual content is encoded correctly or raises `BodyError`."""

from __future__ import annotations

import datetime as dt
import math
import warnings
from array import array
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from eas_tw import (
    BladeRequest,
    BodyError,
    CaffeRequest,
    EasyRecRequest,
    JsonRequest,
    OnnxDataHelper,
    OnnxRequest,
    StringRequest,
    TFRequest,
    TorchRecRequest,
    TorchRequest,
)
from eas_tw.body import schema
from eas_tw.body.request import as_request

FLOAT, DOUBLE, INT, LONG, TEXT, BOOL = (
    TFRequest.DT_FLOAT, TFRequest.DT_DOUBLE, TFRequest.DT_INT32, TFRequest.DT_INT64, TFRequest.DT_STRING,
    TFRequest.DT_BOOL,
)  # fmt: skip
MASKED = np.ma.masked_array([1.0, 999.0, 3.0], mask=[0, 1, 0], dtype=np.float32)
WHOLE = np.ma.masked_array([1.0, 2.0, 3.0], mask=[0, 0, 0], dtype=np.float32)
CUBE = np.arange(24, dtype=np.float64).reshape(2, 3, 4)


def feed(content: Any, dtype: int | None, shape: list[int] | None = None) -> Any:
    """Encode an input, and return it as protobuf parses it."""
    request = TFRequest("s")
    request.add_feed("x", shape, dtype, content)
    return schema.message("eas_tw.tf.PredictRequest").FromString(request.to_string()).inputs["x"]


@pytest.mark.parametrize(
    ("content", "dtype", "field", "sent"),
    [
        (CUBE[::-1, :, ::2], DOUBLE, "double_val", CUBE[::-1, :, ::2].reshape(-1).tolist()),
        (np.asfortranarray(CUBE), FLOAT, "float_val", list(range(24))),
        (CUBE.T, FLOAT, "float_val", CUBE.T.reshape(-1).tolist()),
        (CUBE.astype(">f8"), DOUBLE, "double_val", list(range(24))),
        (CUBE.astype(">f4")[:, ::-1], FLOAT, "float_val", CUBE[:, ::-1].reshape(-1).tolist()),
        (np.array([-1, 2**40], ">i8"), LONG, "int64_val", [-1, 2**40]),
        (np.array([-1, 300], ">i2")[::-1], INT, "int_val", [300, -1]),
        (np.array(7, ">i4"), INT, "int_val", [7]),
        (np.array(True), BOOL, "bool_val", [True]),
        (np.float16(0.5), FLOAT, "float_val", [0.5]),
        (np.broadcast_to(np.float32(7), (2, 2)), FLOAT, "float_val", [7] * 4),
        (np.array([1, None, 3], object)[::2], LONG, "int64_val", [1, 3]),
        (np.array([b"ab\0", "é"], object), TEXT, "string_val", [b"ab\0", "é".encode()]),
        (np.array([0.5, -2], np.longdouble), FLOAT, "float_val", [0.5, -2]),
        (WHOLE, FLOAT, "float_val", [1, 2, 3]),
        ([WHOLE, WHOLE], FLOAT, "float_val", [1, 2, 3] * 2),
        (list(WHOLE), FLOAT, "float_val", [1, 2, 3]),
        ([1.0, math.inf, -math.inf], FLOAT, "float_val", [1, math.inf, -math.inf]),
        ([Decimal("0.5"), np.float32(2)], DOUBLE, "double_val", [0.5, 2]),
        (memoryview(array("d", [1, 2, 3, 4]))[::-2], DOUBLE, "double_val", [4, 2]),
        (np.empty((0, 3), np.float32), FLOAT, "float_val", []),
    ],
)  # fmt: skip
def test_unusual_layouts_are_encoded_correctly(content: Any, dtype: int, field: str, sent: list[Any]) -> None:
    assert list(getattr(feed(content, dtype), field)) == sent


def test_nan_in_a_list_is_a_number() -> None:
    (one, nan) = feed([1.0, math.nan], FLOAT).float_val
    assert (one, math.isnan(nan)) == (1, True)


class Raises:
    """An element whose conversion to a number raises `LookupError`."""

    def __float__(self) -> float:
        raise LookupError("no value")

    def __index__(self) -> int:
        raise LookupError("no value")


class RaisesAsArray:
    def __array__(self, *_: object, **__: object) -> Any:
        raise LookupError("on another device")


HUGE = 10**5000
STRUCTURED = np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")])
WRONG: dict[str, Any] = {
    "masked": MASKED,
    "masked row": [MASKED, MASKED],
    "one masked row": (WHOLE, MASKED),
    "masked 2-d": MASKED.reshape(3, 1),
    "masked 0-d": MASKED[1],
    "masked element": [1.0, MASKED[1]],
    "masked elements": list(MASKED),
    "complex": np.array([1j]),
    "complex in a list": [1j],
    "datetime": np.array(["2026-01-01"], "M8[D]"),
    "timedelta": np.array([5], "m8[s]"),
    "datetime in a list": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)],
    "structured": STRUCTURED,
    "structured row": list(STRUCTURED),
    "void": np.array([b"ab"], "V2"),
    "text": np.array(["a"]),
    "text in a list": ["a"],
    "objects": np.array([object()]),
    "None": [None],
    "None of numpy": np.array([None]),
    "mapping": {"a": 1},
    "set": {1},
    "raises": [Raises()],
    "raises of numpy": np.array([Raises()]),
    "raises as an array": RaisesAsArray(),
    "huge": [HUGE],
    "huge of numpy": np.array([HUGE]),
}


@pytest.mark.parametrize("dtype", [FLOAT, DOUBLE, INT, LONG, BOOL])
@pytest.mark.parametrize("name", WRONG)
def test_content_that_cannot_be_encoded_is_a_body_error(name: str, dtype: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns that a masked element becomes NaN
        with pytest.raises(BodyError) as caught:
            feed(WRONG[name], dtype)
    assert str(caught.value).startswith("feed 'x'")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", [name for name in WRONG if name.startswith("masked")])
def test_masked_elements_are_refused_in_every_body(name: str) -> None:
    content = WRONG[name]
    feeds = [
        lambda: TorchRequest().add_feed(0, None, FLOAT, content),
        lambda: BladeRequest().add_feed("x", 1, None, BladeRequest.DT_FLOAT, content),
        lambda: CaffeRequest().add_feed("x", None, content),
        lambda: OnnxRequest().add_feed("x", None, OnnxRequest.DT_FLOAT, content),
        lambda: TFRequest().add_feed("x", None, None, content),
    ]
    if isinstance(content, np.ndarray):
        feeds += [lambda: StringRequest(content), lambda: as_request(content)]
        feeds += [lambda: OnnxDataHelper.from_array(content, "x")]
    if name in {"masked", "masked element", "masked elements"}:
        feeds += [lambda: TorchRecRequest().add_user_fea("k", content, "LIST<FLOAT>")]
    if name == "masked 0-d":
        feeds += [lambda: TorchRecRequest().add_user_fea("k", content, "FLOAT")]
        feeds += [lambda: EasyRecRequest().add_user_fea_flt("k", content)]
    for fed in feeds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(BodyError, match=r"mask|does not state its dtype"):
                fed()


@pytest.mark.parametrize("warn", ["ignore", "error"])
def test_a_masked_element_is_named_whatever_warnings_do(warn: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(warn)
        with pytest.raises(BodyError, match="1 masked elements; fill"):
            feed([1.0, MASKED[1]], FLOAT)


@pytest.mark.parametrize("content", [np.array([object()]), np.array([(1, None)], [("a", "i4"), ("b", "O")])])
def test_memory_of_objects_is_no_body(content: Any) -> None:
    for make in (StringRequest, as_request):
        with pytest.raises(BodyError, match="StringRequest takes"):
            make(content)


def test_messages_about_huge_numbers_are_bounded() -> None:
    """Python refuses to convert integers of more than 4,300 digits to text."""
    request = TFRequest("s")
    for call in (
        lambda: request.add_feed("x", [HUGE], FLOAT, [1]),
        lambda: request.add_feed("x", [-HUGE], FLOAT, [1]),
        lambda: request.add_feed("x", "wrong" * 1000, FLOAT, [1]),
        lambda: request.add_feed("x", [1], HUGE, [1]),
        lambda: request.add_feed(HUGE, [1], FLOAT, [1]),
        lambda: TorchRequest().add_feed(HUGE, [1], FLOAT, [1]),
        lambda: TorchRequest().set_debug_level(HUGE),
        lambda: TorchRecRequest().add_user_fea("k", HUGE, "INT"),
        lambda: TorchRecRequest().add_user_fea("k", "1" * 5000, "INT64"),
        lambda: TorchRecRequest().add_user_fea("k", 1, HUGE),
        lambda: EasyRecRequest().add_user_fea_int("k", "1" * 5000),
        lambda: EasyRecRequest().add_user_fea_flt("k", HUGE),
        lambda: EasyRecRequest().add_user_fea_str("k", HUGE),
        lambda: EasyRecRequest().add_item_id(HUGE),
        lambda: TorchRecRequest().add_meta_data("k", HUGE),
        lambda: JsonRequest({"a": HUGE}),
        lambda: JsonRequest({"a": object()}),
    ):
        with pytest.raises(BodyError) as caught:
            call()
        assert len(str(caught.value)) < 400, caught.value


@pytest.mark.parametrize("value", [1e30, 3.4e38, float("inf")])
def test_floats_whose_squares_are_infinite_are_sent(value: float) -> None:
    request = TFRequest("s")
    request.add_feed("x", [4], TFRequest.DT_FLOAT, np.full(4, value, np.float32))
    assert np.full(4, value, np.float32).tobytes() in request.to_string()
