"""Equal calls of the request classes of the official Python SDK and of ours give equal bytes and responses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import eas_prediction
import numpy as np
import pytest
import pytest_twisted
from eas_prediction import easyrec_predict_pb2, torchrec_predict_pb2
from eas_prediction.easyrec_request import EasyRecRequest
from eas_prediction.torchrec_request import TorchRecRequest
from hypothesis import given, settings
from hypothesis import strategies as st

import eas_tw
from eas_tw.body import schema
from tests.simulator.kinds import CASES, filled, scenario
from tests.simulator.serving import Served
from tests.simulator.test_body_processors import SDK as OURS

if TYPE_CHECKING:
    from collections.abc import Iterator

OFFICIAL = SimpleNamespace(
    **{name: getattr(eas_prediction, name) for name in dir(eas_prediction) if name[0].isupper()},
    EasyRecRequest=EasyRecRequest,
    TorchRecRequest=TorchRecRequest,
    easyrec=easyrec_predict_pb2,
    torchrec=torchrec_predict_pb2,
)
SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("kinds")
    with Served(folder, *scenario(folder)) as running:
        yield running


def official_answers(served: Served, service: str, request: Any) -> Any:
    client = eas_prediction.PredictClient(served.ready["url"], service)
    client.set_token("t0ken")
    client.set_endpoint_type(eas_prediction.ENDPOINT_TYPE_DIRECT)
    client.init()
    try:
        return client.predict(request)
    finally:
        client.destroy()


async def our_answers(served: Served, service: str, *requests: Any) -> list[Any]:
    async with eas_tw.PredictClient(
        served.ready["url"], service, token="t0ken", endpoint_type=eas_tw.ENDPOINT_TYPE_DIRECT
    ) as client:
        return [await client.predict(request) for request in requests]


@pytest.mark.parametrize("name", CASES)
def test_bodies_are_the_same_bytes(name: str) -> None:
    """Messages with maps are compared after parsing, because protobuf does not define the order of a map's entries."""
    ours, theirs = CASES[name].build(OURS).to_string(), CASES[name].build(OFFICIAL).to_string()
    message = {"easyrec": "easyrec.PBRequest", "torchrec": "torchrec.PBRequest"}.get(name)
    if message is None:
        assert ours == theirs
    else:
        kind = schema.message(f"eas_tw.{message}")
        assert kind.FromString(ours) == kind.FromString(theirs)
        assert len(ours) == len(theirs)


@pytest.mark.parametrize("name", CASES)
@pytest_twisted.ensureDeferred
async def test_answers_are_the_same(served: Served, name: str) -> None:
    """The official client sends the official request. Our client sends our request and the official request."""
    case = CASES[name]
    expected = case.read(official_answers(served, name, case.build(OFFICIAL)))
    assert expected
    for answer in await our_answers(served, name, case.build(OURS), case.build(OFFICIAL)):
        assert case.read(answer) == expected


COMMON = ["FLOAT", "DOUBLE", "INT8", "UINT8", "INT16", "INT32", "INT64"]
TENSORS: dict[str, tuple[Any, Any, list[str]]] = {
    # class: (the argument of its constructor, the call that adds a tensor, the types of tensors)
    "TFRequest": ("s", lambda *tensor: ("add_feed", "x", *tensor), [*COMMON, "UINT16", "BOOL"]),
    "TorchRequest": (False, lambda *tensor: ("add_feed", 1, *tensor), COMMON),
    "BladeRequest": ("s", lambda *tensor: ("add_feed", "x", 3, *tensor), ["FLOAT", "INT32", "INT64"]),
}
RANGES = {f"{sign}INT{bits}": bits for bits in (8, 16, 32, 64) for sign in ("", "U")}


def elements(dtype: str) -> st.SearchStrategy[Any]:
    if dtype in RANGES:
        bits = RANGES[dtype]
        return st.integers(0, 2**bits - 1) if dtype[0] == "U" else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.booleans() if dtype == "BOOL" else st.floats(width=32 if dtype == "FLOAT" else 64)


@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name, row in TENSORS.items() for dtype in row[2]])
def test_tensors_are_the_same_bytes(name: str, dtype: str) -> None:
    argument, call, _ = TENSORS[name]

    @SETTINGS
    @given(st.lists(elements(dtype), max_size=9))
    def check(values: list[Any]) -> None:
        made = []
        for sdk in (OURS, OFFICIAL):
            kind = getattr(sdk, name)
            request = kind(argument)
            made.append(filled(request, call([len(values)], getattr(kind, f"DT_{dtype}", 10), values)).to_string())
        assert made[0] == made[1]

    check()


@pytest.mark.parametrize("code", ["f4", "f8", "u1", "i1", "u2", "i2", "i4", "i8", "u4", "u8"])
def test_arrays_are_the_same_messages(code: str) -> None:
    """`from_array` and `to_array` of both SDKs agree, and the functions of each SDK accept the other SDK's messages."""
    array = np.arange(6, dtype=code).reshape(3, 2).T
    ours, theirs = (sdk.OnnxDataHelper.from_array(array, "n") for sdk in (OURS, OFFICIAL))
    assert ours.SerializeToString() == theirs.SerializeToString()
    for sdk in (OURS, OFFICIAL):
        for tensor in (ours, theirs):
            assert np.array_equal(sdk.OnnxDataHelper.to_array(tensor), array)
    made = [filled(eas_tw.OnnxRequest(), ("add_tensor", tensor)).to_string() for tensor in (ours, theirs)]
    assert made[0] == made[1] == filled(eas_prediction.OnnxRequest(), ("add_tensor", theirs)).to_string()


FEATURES = [
    *[(kind, 7) for kind in ("INT", "BIGINT", "INT64")],
    *[("FLOAT", 0.1), ("DOUBLE", 0.1), ("STRING", "名"), ("bigint", 7)],
    *[(f"{outer}<{kind}>", [7, -7]) for outer in ("LIST", "ARRAY") for kind in ("INT", "BIGINT", "INT64")],
    *[(f"{outer}<{kind}>", [0.1]) for outer in ("LIST", "ARRAY") for kind in ("FLOAT", "DOUBLE")],
    *[("LIST<STRING>", ["a", ""]), ("ARRAY<ARRAY<FLOAT>>", [[0.1], []]), ("LIST<LIST<FLOAT>>", [[0.1, 2.5]])],
    *[
        (f"MAP<{key},{value}>", {name: part})
        for key, name in (("INT", "7"), ("BIGINT", 7), ("INT64", -7), ("STRING", "k"))
        for value, part in (("INT", 1), ("BIGINT", 1), ("INT64", 1), ("FLOAT", 0.1), ("DOUBLE", 0.1), ("STRING", "v"))
    ],
]


@pytest.mark.parametrize("add", ["add_user_fea", "add_context_fea", "add_item_fea"])
def test_features_are_the_same_bytes(add: str) -> None:
    """Features of each type that the official SDK accepts."""
    for dtype, value in FEATURES:
        ours, theirs = (filled(sdk.TorchRecRequest(), (add, "k", value, dtype)) for sdk in (OURS, OFFICIAL))
        assert ours.to_string() == theirs.to_string(), (dtype, value)


@pytest.mark.parametrize(("name", "messages"), [("EasyRecRequest", "easyrec"), ("TorchRecRequest", "torchrec")])
def test_whole_messages_are_the_same_bytes(name: str, messages: str) -> None:
    """Each SDK accepts the message of the other SDK as bytes, and our request accepts the official message object."""
    theirs = getattr(OFFICIAL, messages).PBRequest(item_ids=["a", "b"], debug_level=4)
    ours = getattr(OURS, messages).PBRequest(item_ids=["a", "b"], debug_level=4)
    feeds = [(sdk, data.SerializeToString()) for sdk in (OURS, OFFICIAL) for data in (ours, theirs)]
    made = {
        filled(getattr(sdk, name)(), ("add_feed", data, 2), ("set_faiss_neigh_num", 9)).to_string()
        for sdk, data in [*feeds, (OURS, ours), (OURS, theirs)]
    }
    assert len(made) == 1
