"""A service for each request class, and requests that can be made with both SDKs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

ROWS = [[1.5, -2.25, 3.0], [0.5, 0.25, 0.75]]
FLAT = [value for row in ROWS for value in row]


@attrs.frozen
class Case:
    """One request class, with a service for it.

    Attributes:
        processor: Processor of the service.
        build: Makes a request with the given SDK.
        read: Converts a response to plain values.
    """

    processor: str
    build: Callable[[Any], Any]
    read: Callable[[Any], Any]


def filled(request: Any, *calls: tuple[Any, ...]) -> Any:
    for name, *arguments in calls:
        getattr(request, name)(*arguments)
    return request


def torch(sdk: Any, *flag: bool) -> Any:
    return filled(
        sdk.TorchRequest(*flag),
        ("add_feed", 0, [2, 3], sdk.TorchRequest.DT_FLOAT, FLAT),
        ("add_feed_map", "k", [2, 3], sdk.TorchRequest.DT_FLOAT, FLAT[::-1]),
    )


def tf_echo(sdk: Any) -> Any:
    return filled(
        sdk.TFRequest("s"),
        ("add_feed", "f", [2, 3], sdk.TFRequest.DT_FLOAT, FLAT),
        ("add_feed", "i", [2], sdk.TFRequest.DT_INT64, [-(2**63), 2**63 - 1]),
        ("add_feed", "b", [1, 3], sdk.TFRequest.DT_BOOL, [True, False, True]),
        ("add_feed", "s", [2], sdk.TFRequest.DT_STRING, [b"", b"\x00\xff"]),
    )


def torch_echo(sdk: Any) -> Any:
    return filled(
        sdk.TorchRequest(),
        ("add_feed", 2, [2], sdk.TorchRequest.DT_INT8, [-128, 127]),
        ("add_feed", 0, [1], sdk.TorchRequest.DT_DOUBLE, [0.1]),
        ("add_fetch", 2),
        ("add_fetch", 0),
        ("set_debug_level", 1),
    )


def blade(sdk: Any) -> Any:
    return filled(
        sdk.BladeRequest("sig"),
        ("add_feed", "f", 2, [2, 3], sdk.BladeRequest.DT_FLOAT, FLAT),
        ("add_feed", "i", 1, [2], sdk.BladeRequest.DT_INT64, [-1, 2**40]),
        ("add_fetch", "i", sdk.BladeRequest.DT_INT64),
        ("add_fetch", "f", sdk.BladeRequest.DT_FLOAT),
    )


def onnx(sdk: Any) -> Any:
    helper = sdk.OnnxDataHelper
    return filled(
        sdk.OnnxRequest(),
        ("add_tensor", helper.from_array(np.array(ROWS, "f4"), "f")),
        ("add_tensor", helper.from_array(np.array([1, 2], "u8"), "u")),
    )


def easyrec(sdk: Any) -> Any:
    message = sdk.easyrec.PBRequest(item_ids=["a", "b"])
    message.context_features["c"].features.add().float_feature = 0.5
    return filled(
        sdk.EasyRecRequest(),
        ("add_feed", message, 1),
        ("add_user_fea_int", "age", 30),
        ("add_user_fea_flt", "height", 1.5),
        ("add_user_fea_str", "city", "上海"),
        ("set_faiss_neigh_num", 9),
    )


def torchrec(sdk: Any) -> Any:
    return filled(
        sdk.TorchRecRequest(),
        ("add_user_fea", "age", 30, "INT"),
        ("add_user_fea", "l", [1, -2], "LIST<BIGINT>"),
        ("add_user_fea", "m", {"7": 1.25}, "MAP<INT64,DOUBLE>"),
        ("add_context_fea", "n", [[1.0], [2.0, 3.0]], "LIST<LIST<FLOAT>>"),
        ("add_item_fea", "p", "x", "STRING"),
        ("add_item_fea", "p", "y", "STRING"),
        ("add_item_id", "a"),
        ("add_item_id", "b"),
        ("add_meta_data", "trace", "t1"),
        ("set_faiss_neigh_num", 9),
        ("set_debug_level", 2),
    )


def tensors(*keys: Any) -> Callable[[Any], Any]:
    def read(response: Any) -> Any:
        return [(list(response.get_tensor_shape(key)), list(response.get_values(key))) for key in keys]

    return read


def read_torch(response: Any) -> Any:
    return tensors(0, 1)(response), list(response.get_tensor_shape_map("k")), list(response.get_values_map("k"))


def read_blade(response: Any) -> Any:
    types = {"f": 1, "i": 3}
    return [(list(response.get_tensor_shape(key)), list(response.get_values(key, types[key]))) for key in types]


def read_onnx(response: Any) -> Any:
    found = [response.get_tensor(index) for index in range(response.get_size())]
    return [(response.get_name(index), list(part.dims), part.raw_data) for index, part in enumerate(found)]


def read_rec(response: Any) -> Any:
    """Return the text form of a response, with the maps sorted by protobuf, and the item ids."""
    return str(response), list(response.item_ids)


CASES = {
    "torch": Case("torch", torch, read_torch),
    "torch-snappy": Case("snappy+torch", lambda sdk: torch(sdk, True), read_torch),
    "tf-echo": Case("echo-tf", tf_echo, tensors("f", "i", "b", "s")),
    "torch-echo": Case("echo-torch", torch_echo, tensors(0, 1)),
    "blade": Case("echo-blade", blade, read_blade),
    "onnx": Case("echo-onnx", onnx, read_onnx),
    "easyrec": Case("echo-easyrec", easyrec, read_rec),
    "torchrec": Case("echo-torchrec", torchrec, read_rec),
}


def scenario(folder: Path, *more: tuple[str, str]) -> list[str]:
    """Return simulator arguments for a service for each case, and for more services as (name, processor)."""
    services = [*((name, case.processor) for name, case in CASES.items()), *more]
    path = folder / "kinds.toml"
    rows = (
        f'[[services]]\nname = "{name}"\nprocessor = "{processor}"\ninstances = 2\ntoken = "t0ken"\n'
        for name, processor in services
    )
    path.write_text("\n".join(rows), "utf-8")
    return ["--scenario", str(path)]
