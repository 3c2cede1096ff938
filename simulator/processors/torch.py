"""A model like a TorchScript model: the input has rows of floats, the outputs are their means and argmax positions.

The outputs are computed in double precision in a fixed order and rounded once, so the same input gives the same bits on
every platform.
"""

from __future__ import annotations

from typing import Any

from simulator.processors.arrays import FLOAT, INT64, decode, elements, make


def torch(body: bytes) -> bytes:
    """Return the serialised response to a serialised request.

    Input 0 is DT_FLOAT `[n, m]`. Output 0 is the mean of each row, DT_FLOAT `[n]`. Output 1 is the position of the
    largest element of each row, DT_INT64 `[n]`. Each named input becomes an output of the same name with the means of
    the input's rows. `output_filter` selects positions.

    Raises:
        ValueError: An input is missing, or has another type or shape; the text gives the actual type and shape.
    """
    request = decode("torch.PredictRequest", body)
    if not request.inputs and not request.map_inputs:
        raise ValueError("no input: give one by place or by name")
    response = make("torch.PredictResponse")
    outputs = []
    if request.inputs:
        rows = _rows(request.inputs[0], "input 0")
        outputs = [_array(FLOAT, _means(rows)), _array(INT64, [row.index(max(row)) for row in rows])]
    for place in request.output_filter or range(len(outputs)):
        if not 0 <= place < len(outputs):
            raise ValueError(f"no output {place}; there are {len(outputs)}")
        response.outputs.append(outputs[place])
    for name in request.map_inputs:
        rows = _rows(request.map_inputs[name], f"input {name!r}")
        response.map_outputs[name].CopyFrom(_array(FLOAT, _means(rows)))
    return response.SerializeToString()  # type: ignore[no-any-return]


def _rows(array: Any, where: str) -> list[list[float]]:
    shape = list(array.array_shape.dim)
    if array.dtype != FLOAT or len(shape) != 2 or not all(shape):  # noqa: PLR2004
        raise ValueError(f"{where} must be DT_FLOAT (1) of shape [n, m], got dtype {array.dtype}, shape {shape}")
    values = elements(array, where)
    return [values[start : start + shape[1]] for start in range(0, len(values), shape[1])]


def _means(rows: list[list[float]]) -> list[float]:
    return [sum(row) / len(row) for row in rows]


def _array(dtype: int, values: list[Any]) -> Any:
    array = make("torch.ArrayProto")
    array.dtype = dtype
    array.array_shape.dim.append(len(values))
    (array.float_val if dtype == FLOAT else array.int64_val).extend(values)
    return array
