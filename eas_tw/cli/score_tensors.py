"""Tensor requests for `eas-tw score`, whose elements come from columns of the rows."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from attrs import frozen

from eas_tw import BodyError, ConfigError, TFRequest, TorchRequest

if TYPE_CHECKING:
    import argparse

_DTYPES = {
    "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF", "int8": "DT_INT8", "int16": "DT_INT16",
    "int32": "DT_INT32", "int64": "DT_INT64", "uint8": "DT_UINT8", "bool": "DT_BOOL",
}  # fmt: skip

_BOOLS = {"0": False, "1": True, "false": False, "true": True}
"""The texts that are elements of a tensor of `bool`, in any case."""


@frozen
class TensorColumns:
    """A tensor of a request, and the columns of a row that contain its elements.

    Attributes:
        name: The input's name (TensorFlow) or index (PyTorch).
        dtype: The name of the numpy type, such as `float32`.
        shape: The shape of the elements of one row.
        columns: The columns; a single column may contain all elements as a list.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    columns: tuple[str, ...]

    def elements(self, row: Any) -> Any:
        """Return the elements of a row as an array with the shape `shape`.

        Raises:
            BodyError: A column is missing, or the elements are not numbers of this shape.
        """
        import numpy as np  # noqa: PLC0415  an optional dependency; `tensor_functions` has checked that it is installed

        if not isinstance(row, dict):
            raise BodyError(f"the row must be an object with the columns of tensor {self.name}")
        missing = [name for name in self.columns if name not in row]
        if missing:
            raise BodyError(f"the row has no column {missing[0]}, which is in tensor {self.name}")
        values = row[self.columns[0]] if len(self.columns) == 1 else [row[name] for name in self.columns]
        try:
            return _converted(np, values, np.dtype(self.dtype)).reshape(self.shape)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise BodyError(f"tensor {self.name} of {self.dtype} {list(self.shape)}: {error}") from None


def parse_tensor(text: str, columns: str | None) -> TensorColumns:
    """Parse `NAME:DTYPE:SHAPE` and the names of columns.

    Args:
        text: The tensor, such as `images:float32:28x28`; the shape is that of one row, and empty for a scalar.
        columns: Names separated by commas; `p0..p783` is a range. `None` for one column that has the tensor's name.

    Raises:
        ConfigError: A part is wrong.
    """
    match = re.fullmatch(r"(?P<name>.+?):(?P<dtype>\w+):(?P<shape>\d*(?:x\d+)*)", text)
    if match is None or match["dtype"] not in _DTYPES:
        raise ConfigError(
            f"--tensor must look like NAME:DTYPE:SHAPE, such as images:float32:28x28, got {text!r}; "
            f"DTYPE is one of {', '.join(_DTYPES)}"
        )
    shape = tuple(int(part) for part in match["shape"].split("x") if part)
    names = [match["name"]] if columns is None else [name for part in columns.split(",") for name in _range(part)]
    return TensorColumns(match["name"], match["dtype"], shape, tuple(names))


def tensor_functions(options: argparse.Namespace) -> dict[str, Any]:
    """Return `encode_batch` and `decode_batch` for the flags.

    Raises:
        ConfigError: A flag is wrong, or numpy is not installed.
    """
    try:
        import numpy as np  # noqa: PLC0415  an optional dependency
    except ImportError:
        raise ConfigError("--tensor needs numpy: pip install 'eas-tw[cli]'") from None
    if options.columns and len(options.columns) != len(options.tensor):
        raise ConfigError("give --columns once for each --tensor, in the same order, or not at all")
    columns: list[str | None] = options.columns or [None] * len(options.tensor)
    tensors = [parse_tensor(*each) for each in zip(options.tensor, columns, strict=True)]
    is_torch = options.request == "torch"
    if is_torch and not all(tensor.name.isdigit() for tensor in tensors):
        raise ConfigError("an input of a TorchRequest has a number: --tensor 0:float32:784")

    def encode(rows: list[Any]) -> Any:
        request: Any = TorchRequest() if is_torch else TFRequest(options.signature)
        for tensor in tensors:
            array = np.stack([tensor.elements(row) for row in rows])
            dtype = getattr(request, _DTYPES[tensor.dtype])
            if is_torch:
                request.add_feed(int(tensor.name), list(array.shape), dtype, array)
            else:
                request.add_feed(tensor.name, list(array.shape), dtype, array)
        for name in options.fetch:
            request.add_fetch(int(name) if is_torch else name)
        return request

    return {"encode_batch": encode, "decode_batch": _decode}


def _decode(rows: list[Any], response: Any) -> list[dict[str, Any]]:
    """Split each output of the model by its first dimension, and return a dictionary of outputs for each row."""
    outputs: list[dict[str, Any]] = [{} for _ in rows]
    for name in _names_of(response):
        shape, values = response.get_tensor_shape(name), list(response.get_values(name))
        if not shape or shape[0] != len(rows):
            raise BodyError(f"output {name} has the shape {list(shape)}; its first dimension must be {len(rows)}")
        if len(values) != math.prod(shape):
            raise BodyError(f"output {name} has {len(values)} elements, which do not fit its shape {list(shape)}")
        width = len(values) // len(rows)
        for at, output in enumerate(outputs):
            part = values[at * width : (at + 1) * width]
            output[str(name)] = part[0] if len(shape) == 1 else part
    return outputs


def _names_of(response: Any) -> list[str | int]:
    """Return the names of the outputs, or the indexes of outputs without names (PyTorch)."""
    names: list[str | int] = list(response.output_names)
    if not names:
        with suppress(BodyError):  # raised at the first index for which there is no output
            for index in count():
                response.get_tensor_shape(index)
                names.append(index)
    return names


def _converted(np: Any, values: Any, dtype: Any) -> Any:
    """Convert values to an array of a type, without the conversions of numpy that change values.

    numpy converts every text but the empty one to `True`, removes the fractions of numbers, and converts numbers that
    are too large for `float32` to infinity.
    """
    if dtype.kind == "f":
        with np.errstate(over="raise"):
            return np.array(values, dtype)
    found = np.array(values)
    if dtype.kind == "b" and found.dtype.kind == "U":
        return np.array([_bool(text) for text in found.ravel().tolist()], dtype)
    if dtype.kind in "iu" and found.dtype.kind == "f":
        fractions = found[found != np.trunc(found)]
        if fractions.size:
            raise ValueError(f"{fractions[0]} is not a whole number")
    return np.array(found.tolist(), dtype)


def _bool(text: str) -> bool:
    try:
        return _BOOLS[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is not one of {', '.join(_BOOLS)}") from None


def _range(text: str) -> list[str]:
    """Expand a range such as `p0..p783` to names; return any other text as one name."""
    match = re.fullmatch(r"(?P<prefix>.*?)(?P<first>\d+)\.\.(?P=prefix)(?P<last>\d+)", text)
    if match is None:
        return [text]
    return [f"{match['prefix']}{number}" for number in range(int(match["first"]), int(match["last"]) + 1)]
