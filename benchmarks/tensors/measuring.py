"""Shared parts of the tensor drivers: the tensors, the timing, and one JSON line of seconds per operation.

A case has a dtype, a number of elements, a source of the elements (a list or an array) and an operation. `write`
creates a request with one tensor and serialises it. `read` parses a response with one tensor and reads all of its
elements into the type of the source.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from itertools import product
from time import process_time

import numpy as np

SIZES = (784, 150_528)
#: name -> (protobuf constant, its number, field, numpy's type, the range of the elements)
DTYPES = {
    "float32": ("DT_FLOAT", 1, "float_val", np.float32, None),
    "float64": ("DT_DOUBLE", 2, "double_val", np.float64, None),
    "int64": ("DT_INT64", 9, "int64_val", np.int64, (0, 2**40)),  # such as user ids
    "int32": ("DT_INT32", 3, "int_val", np.int32, (0, 100_000)),  # such as tokens
    "uint8": ("DT_UINT8", 4, "int_val", np.uint8, (0, 256)),  # such as pixels
    "bool": ("DT_BOOL", 10, "bool_val", np.bool_, (0, 2)),
}
SOURCES = ("list", "array")
_LEAST_S = 0.003


def array_of(dtype: str, size: int):
    rng = np.random.default_rng(7)
    kind, bounds = DTYPES[dtype][3:]
    return rng.random(size).astype(kind) if bounds is None else rng.integers(*bounds, size).astype(kind)


def seconds(operation, repeats: int) -> float:
    """Return the least time of several samples, in seconds; each sample is long enough for the clock's resolution."""
    began = process_time()
    operation()
    once = process_time() - began
    number = max(1, int(_LEAST_S / max(once, 1e-7)))
    best = float("inf")
    for _ in range(repeats if once < 0.05 else 1):
        began = process_time()
        for _ in range(number):
            operation()
        best = min(best, (process_time() - began) / number)
    return best


def options():
    """Parse the command line that the runner passes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=SIZES)
    return parser.parse_args()


def main(write, read) -> None:
    """Measure `write(dtype, content)` → body and `read(dtype, body, source)` → elements, and print the result."""
    given = options()
    found = {}
    for dtype, size, source in product(DTYPES, given.sizes, SOURCES):
        array = array_of(dtype, size)
        content = array if source == "array" else array.tolist()
        answer = response(dtype, array)
        case = f"{dtype} {size} {source}"
        found[f"{case} write"] = seconds(partial(write, dtype, content), given.repeats)
        back = read(dtype, answer, source)
        if back is not None:  # the official SDK returns no values for some dtypes
            assert (list(back) if source == "list" else back.tolist()) == array.tolist()
            found[f"{case} read"] = seconds(partial(read, dtype, answer, source), given.repeats)
    print(json.dumps(found))


def response(dtype: str, array) -> bytes:
    """Serialise a TensorFlow response with one output, `y`, by hand, so that every driver reads the same bytes."""
    number, field, kind = DTYPES[dtype][1:4]
    if kind in (np.float32, np.float64):
        payload = array.tobytes()
    else:
        payload = b"".join(map(_varint, array.astype(np.int64).tolist()))
    fields = {"float_val": 3, "double_val": 4, "int_val": 5, "int64_val": 7, "bool_val": 8}
    tensor = _varint(1 << 3) + _varint(number) + _delimited(2, _delimited(1, _varint(array.size)))
    tensor += _delimited(fields[field], payload)
    return _delimited(1, _delimited(1, b"y") + _delimited(2, tensor))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _delimited(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload
