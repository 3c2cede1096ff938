"""Processors for each request class: their results, and the requests that they refuse."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import eas_tw
from eas_tw import config
from eas_tw.body import schema
from eas_tw.body.compression import compress, decode
from eas_tw.body.schema import easyrec_predict_pb2, torchrec_predict_pb2
from simulator.http1 import Response
from simulator.processors import ProcessorError, compute, find
from simulator.processors.compressed import COMPRESSIONS
from simulator.processors.echoes import ECHOES
from tests.simulator.kinds import CASES
from tests.simulator.serving import Served

SDK = SimpleNamespace(
    **{name: getattr(eas_tw, name) for name in eas_tw.__all__},
    easyrec=easyrec_predict_pb2,
    torchrec=torchrec_predict_pb2,
)


def process(name: str, body: bytes) -> Any:
    """Return the response of the named processor to a body."""
    return compute(find(name, ""), body, None)


def answered(case: str) -> Any:
    """Return the parsed response of the processor to the request of a case."""
    request = CASES[case].build(SDK)
    return CASES[case].read(request.parse_response(process(CASES[case].processor, request.to_string())))


def test_torch_computes_means_and_places() -> None:
    means = [(1.5 - 2.25 + 3) / 3, 0.5]
    (first, second), shape, named = answered("torch")
    assert first == ([2], [pytest.approx(value, rel=1e-7) for value in means])
    assert second == ([2], [2, 2])
    assert (shape, named) == ([2], [pytest.approx(value, rel=1e-7) for value in means[::-1]])
    assert answered("torch-snappy") == answered("torch")


def test_echo_processors_return_the_tensors() -> None:
    assert answered("tf-echo")[1:] == [
        ([2], [-(2**63), 2**63 - 1]),
        ([1, 3], [True, False, True]),
        ([2], [b"", b"\0\xff"]),
    ]
    assert answered("torch-echo") == [([2], [-128, 127]), ([1], [0.1])]
    assert answered("blade")[1] == ([2], [-1, 2**40])
    assert [name for name, _, _ in answered("onnx")] == ["f", "u"]
    caffe = eas_tw.CaffeRequest()
    caffe.add_feed("a", [2], [1, 2])
    caffe.add_feed("b", [1], [3])
    caffe.add_fetch("b")
    response = caffe.parse_response(process("echo-caffe", caffe.to_string()))
    assert (response.output_names, response.get_values("b")) == (("b",), [3])


def test_recommendations_have_scores_and_the_parsed_features() -> None:
    request = CASES["easyrec"].build(SDK)
    response = request.parse_response(process("echo-easyrec", request.to_string()))
    assert list(response.item_ids) == sorted(response.results) == ["a", "b"]
    assert response.get_values("scores") == [response.results[item].scores[0] for item in "ab"]
    assert response.generate_features["age"] == "int_feature: 30"
    assert dict(response.raw_features) == {"debug_level": "1", "faiss_neigh_num": "9"}
    request = CASES["torchrec"].build(SDK)
    response = request.parse_response(process("echo-torchrec", request.to_string()))
    assert dict(response.pass_through_data) == {"trace": "t1"}
    assert response.raw_features["item:p"] == 'string_feature: "x"; string_feature: "y"'
    assert response.generate_features["l"] == "long_list { features: 1 features: -2 }"
    assert len(response.get_values("scores")) == 2


def test_json_is_read_and_written() -> None:
    assert process("echo-json", '{"名":[1.50]}'.encode()) == '{"名": [1.5]}'.encode()


@pytest.mark.parametrize("name", ["mnist", "torch", *ECHOES])
@pytest.mark.parametrize("body", [b"<html>", b"\x0a\x05ab", b'{"a"'])
def test_a_body_of_another_kind_is_refused(name: str, body: bytes) -> None:
    """An instance responds to such a body with status 400."""
    with pytest.raises(ValueError, match=r"the body is not a|Expecting"):
        process(name, body)


def message(name: str, **fields: Any) -> bytes:
    return schema.message(f"eas_tw.{name}")(**fields).SerializeToString()  # type: ignore[no-any-return]


def array(package: str, shape: list[int], **fields: Any) -> Any:
    return schema.message(f"eas_tw.{package}.ArrayProto")(array_shape={"dim": shape}, **fields)


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("echo-tf", message("tf.PredictRequest", inputs={"x": array("tf", [2], dtype=1, float_val=[1])}), "do not fit"),
        ("echo-tf", message("tf.PredictRequest", inputs={"x": array("tf", [1], dtype=2, float_val=[1])}), "do not fit"),
        ("echo-tf", message("tf.PredictRequest", inputs={"x": array("tf", [1], dtype=19)}), "dtype 19"),
        ("echo-tf", message("tf.PredictRequest", output_filter=["y"]), "no output y; there is none"),
        ("echo-torch", message("torch.PredictRequest", inputs=[array("torch", [1], dtype=10)]), "dtype 10"),
        ("echo-torch", message("torch.PredictRequest", output_filter=[0]), "no output 0; there are 0"),
        ("echo-onnx", message("onnx.DataProto", tensors=[{"name": "x", "data_type": 9}]), "no data_type 9"),
        ("echo-onnx", message("onnx.DataProto", tensors=[{"data_type": 1, "raw_data": b"12345"}]), "do not fit"),
        ("echo-caffe", message("caffe.PredictRequest", input_name=["a"]), "1 names for 0 inputs"),
        ("torch", b"", "no input"),
        (
            "torch",
            message("torch.PredictRequest", inputs=[array("torch", [1], dtype=1, float_val=[1])]),
            r"shape \[n, m\]",
        ),
        ("torch", message("torch.PredictRequest", inputs=[array("torch", [0, 3], dtype=1)]), r"shape \[n, m\]"),
    ],
)
def test_requests_that_do_not_fit_the_model_are_refused(name: str, body: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        process(name, body)


def test_torch_returns_the_requested_outputs() -> None:
    request = eas_tw.TorchRequest()
    request.add_feed(0, [1, 2], request.DT_FLOAT, [1, 3])
    request.add_fetch(1)
    assert request.parse_response(process("torch", request.to_string())).get_values(0) == [1]
    request.add_fetch(5)
    with pytest.raises(ValueError, match="no output 5; there are 2"):
        process("torch", request.to_string())


@pytest.mark.parametrize("codec", config.COMPRESSIONS)
def test_a_codec_decodes_requests_and_encodes_responses(codec: str) -> None:
    assert sorted(COMPRESSIONS) == sorted(config.COMPRESSIONS)
    plain = b"something " * 50
    assert process(f"{codec}+echo", compress(codec, plain)) == plain
    answer = process(f"{codec}+echo+{codec}", compress(codec, plain))
    assert isinstance(answer, Response)
    assert decode(answer.headers["Content-Encoding"], answer.body, 1000) == plain
    with pytest.raises(ValueError, match=f"the body is not {codec}"):
        process(f"{codec}+echo", b"\xff" * 9)


@pytest.mark.parametrize("name", ["rar+echo", "gzip+", "+gzip", "echo+rar", "gzip+nothing"])
def test_an_unknown_codec_or_processor_is_an_error(name: str) -> None:
    with pytest.raises(ProcessorError, match="processor"):
        find(name, "")


def test_codecs_and_compressions_can_be_combined(tmp_path: Path) -> None:
    """A user's function gets decoded values of decompressed bodies, and runs in a thread."""
    (tmp_path / "mine.py").write_text("def double(values):\n    return [2 * value for value in values]\n")
    arguments = ("--service", "s=1", "--token", "", "--processor", "zstd+json+mine:double+gzip")
    with Served(tmp_path, *arguments) as served:
        status, body = served.predict("s", compress("zstd", b"[1, 2]"))
        assert (status, gzip.decompress(body)) == (200, b"[2, 4]")
        status, body = served.predict("s", b"[1, 2]")
        assert (status, body[:20]) == (400, b"the body is not zstd")
