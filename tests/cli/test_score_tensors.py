"""Elements of tensors from the columns of rows, for `eas-tw score --tensor`."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pytest

from eas_tw import BodyError, TFRequest, TFResponse
from eas_tw.body import schema
from eas_tw.cli.score_tensors import parse_tensor, tensor_functions


@pytest.mark.parametrize(
    ("dtype", "values", "elements"),
    [
        ("bool", ["0", "1", "False", "true"], [False, True, False, True]),
        ("bool", [0, 1, False, True], [False, True, False, True]),
        ("int8", ["-1", "2"], [-1, 2]),
        ("int32", [3.0, -4.0], [3, -4]),
        ("int64", [2**62 + 1], [2**62 + 1]),
        ("float32", ["1.5", "-2"], [1.5, -2.0]),
        ("float64", [1e300, 1], [1e300, 1.0]),
    ],
)
def test_cells_become_elements_with_the_same_value(dtype: str, values: list[Any], elements: list[Any]) -> None:
    found = parse_tensor(f"x:{dtype}:{len(values)}", None).elements({"x": values})
    assert (found.dtype, found.tolist()) == (np.dtype(dtype), elements)


def test_an_output_whose_elements_do_not_fit_its_shape_is_an_error() -> None:
    message = schema.message("eas_tw.tf.PredictResponse")()
    message.outputs["y"].array_shape.dim.extend([2, 3])
    message.outputs["y"].dtype = TFRequest.DT_FLOAT
    message.outputs["y"].float_val.extend([1.0] * 5)
    options = argparse.Namespace(columns=[], tensor=["x:float32:"], request="tf", signature="", fetch=[])
    with pytest.raises(BodyError, match=r"output y has 5 elements, which do not fit its shape \[2, 3\]"):
        tensor_functions(options)["decode_batch"]([{}, {}], TFResponse(message.SerializeToString()))


@pytest.mark.parametrize(
    ("dtype", "value", "says"),
    [
        ("bool", "no", "'no' is not one of 0, 1, false, true"),
        ("bool", "", "'' is not one of 0, 1, false, true"),
        ("int32", 1.7, "1.7 is not a whole number"),
        ("int32", float("nan"), "nan is not a whole number"),
        ("int8", 300, "300 out of bounds"),
        ("float32", 1e300, "overflow"),
        ("float16", "1e5", "overflow"),
        ("float32", "a", "could not convert string to float"),
    ],
)
def test_a_value_that_the_type_cannot_represent_is_an_error_of_its_row(dtype: str, value: Any, says: str) -> None:
    with pytest.raises(BodyError, match=rf"tensor x of {dtype} \[\]: .*{says}"):
        parse_tensor(f"x:{dtype}:", None).elements({"x": value})
