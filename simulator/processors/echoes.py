"""Echo processors, one for each kind of body: parse the request with protobuf, validate it, and return its content.

Tensors are returned under their names or positions. For a recommendation request, user features are returned as text,
and each item is returned with a score that depends only on the item's id.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from zlib import crc32

from simulator.processors.arrays import FLOAT, check, decode, elements, make

if TYPE_CHECKING:
    from collections.abc import Callable

_ONNX_SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 10: 2, 11: 8, 12: 4, 13: 8}


def tf(body: bytes) -> bytes:
    """Return a TensorFlow request's inputs as outputs; `output_filter` selects names."""
    request = decode("tf.PredictRequest", body)
    response = make("tf.PredictResponse")
    for name in _picked(request.inputs, request.output_filter):
        elements(request.inputs[name], f"input {name!r}")
        response.outputs[name].CopyFrom(request.inputs[name])
    return _bytes(response)


def torch(body: bytes) -> bytes:
    """Return a PyTorch request's inputs as outputs, by position and by name; `output_filter` selects positions."""
    request = decode("torch.PredictRequest", body)
    response = make("torch.PredictResponse")
    for place in request.output_filter or range(len(request.inputs)):
        if not 0 <= place < len(request.inputs):
            raise ValueError(f"no output {place}; there are {len(request.inputs)}")
        if request.inputs[place].ByteSize():  # an empty message marks a position that was left out
            elements(request.inputs[place], f"input {place}")
        response.outputs.append(request.inputs[place])
    for name in request.map_inputs:
        elements(request.map_inputs[name], f"input {name!r}")
        response.map_outputs[name].CopyFrom(request.map_inputs[name])
    return _bytes(response)


def blade(body: bytes) -> bytes:
    """Return a Blade request's inputs as outputs; `output_info` selects names."""
    request = decode("blade.Request", body)
    inputs = {array.name_in_dl_model: array for array in request.inputs}
    response = make("blade.Response")
    for name in _picked(inputs, [info.name_in_dl_model for info in request.output_info]):
        array = inputs[name]
        count = sum(map(len, (array.float_val, array.int_val, array.int64_val, array.string_val)))
        check(list(array.shape.dim), count, f"input {name!r}")
        response.outputs.append(array)
    return _bytes(response)


def caffe(body: bytes) -> bytes:
    """Return a Caffe request's inputs as outputs; `output_filter` selects names."""
    request = decode("caffe.PredictRequest", body)
    if len(request.input_name) != len(request.input_data):
        raise ValueError(f"{len(request.input_name)} names for {len(request.input_data)} inputs")
    inputs = dict(zip(request.input_name, request.input_data, strict=True))
    response = make("caffe.PredictResponse")
    for name in _picked(inputs, request.output_filter):
        check(list(inputs[name].shape.dim), len(inputs[name].data), f"input {name!r}")
        response.output_name.append(name)
        response.output_data.append(inputs[name])
    return _bytes(response)


def onnx(body: bytes) -> bytes:
    """Return an ONNX request's tensors."""
    request = decode("onnx.DataProto", body)
    for tensor in request.tensors:
        size = _ONNX_SIZES.get(tensor.data_type)
        if size is None:
            raise ValueError(f"tensor {tensor.name!r}: no data_type {tensor.data_type}")
        count, rest = divmod(len(tensor.raw_data), size)
        check(list(tensor.dims), -1 if rest else count, f"tensor {tensor.name!r}")
    return _bytes(request)


def _put_scores(outputs: Any, items: Any) -> None:
    if items:
        array = outputs["scores"]
        array.dtype = FLOAT
        array.array_shape.dim.append(len(items))
        array.float_val.extend(map(score, items))


def easyrec(body: bytes) -> bytes:
    """Return the items with their scores, user features and numbers as text, and context features unchanged.

    User features are in `generate_features`, numbers in `raw_features`, and context features in `context_features`.
    """
    request = decode("easyrec.PBRequest", body)
    response = make("easyrec.PBResponse")
    response.item_ids.extend(request.item_ids)
    for item in request.item_ids:
        response.results[item].scores.append(score(item))
    for name in request.context_features:
        response.context_features[name].CopyFrom(request.context_features[name])
    _describe(request, response)
    _put_scores(response.tf_outputs, request.item_ids)
    return _bytes(response)


def torchrec(body: bytes) -> bytes:
    """Return the items with a tensor of their scores, features as text, and meta data.

    User features are in `generate_features`, other features and numbers in `raw_features`, and meta data in
    `pass_through_data`.
    """
    request = decode("torchrec.PBRequest", body)
    response = make("torchrec.PBResponse")
    response.item_ids.extend(request.item_ids)
    _describe(request, response)
    for kind in ("context", "item"):
        features = getattr(request, f"{kind}_features")
        for name in features:
            text = "; ".join(map(_text, features[name].features))
            response.raw_features[f"{kind}:{name}"] = text
    for name, value in request.meta_data.items():
        response.pass_through_data[name] = value
    _put_scores(response.map_outputs, request.item_ids)
    return _bytes(response)


def json_(body: bytes) -> bytes:
    """Parse a JSON value, and serialise it again."""
    return json.dumps(json.loads(body), ensure_ascii=False).encode()


def score(item: str) -> float:
    """Compute an item's score from 0 to 1, exactly representable in 32 bits."""
    return crc32(item.encode()) % 1024 / 1024


def _picked(inputs: Any, names: Any) -> list[str]:
    missing = [name for name in names if name not in inputs]
    if missing:
        raise ValueError(f"no output {', '.join(missing)}; there is {', '.join(sorted(inputs)) or 'none'}")
    return list(names) or sorted(inputs)


def _describe(request: Any, response: Any) -> None:
    for name in request.user_features:
        response.generate_features[name] = _text(request.user_features[name])
    if request.debug_level:
        response.raw_features["debug_level"] = str(request.debug_level)
    if request.faiss_neigh_num:
        response.raw_features["faiss_neigh_num"] = str(request.faiss_neigh_num)


def _text(feature: Any) -> str:
    """Format a feature as protobuf prints it, on one line."""
    return " ".join(str(feature).split())


def _bytes(message: Any) -> bytes:
    return message.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


ECHOES: dict[str, Callable[[bytes], bytes]] = {
    "echo-tf": tf,
    "echo-torch": torch,
    "echo-blade": blade,
    "echo-caffe": caffe,
    "echo-onnx": onnx,
    "echo-easyrec": easyrec,
    "echo-torchrec": torchrec,
    "echo-json": json_,
}
