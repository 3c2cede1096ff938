"""Codecs, which decode a request's bytes for a user's processor, and encode its result.

A new kind of body needs one row in `CODECS`; `CODEC+MODULE:CALLABLE` then selects it.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen

from simulator.processors import arrays, tensors

if TYPE_CHECKING:
    from collections.abc import Callable


@frozen
class Codec:
    """The codec of one kind of body.

    Attributes:
        says: Description, one line.
        decode: Converts bytes to a value; an exception becomes a 400.
        encode: Converts a value to bytes; an exception becomes a 400.
    """

    says: str
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _text(body: bytes) -> str:
    return body.decode("utf-8")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _serialized(message: Any) -> bytes:
    return message.SerializeToString()  # type: ignore[no-any-return]


def _messages(name: str) -> Codec:
    """Build the codec of a protobuf message; `arrays.make` creates the response."""
    return Codec(f"a {name} in, a message out", partial(arrays.decode, name), _serialized)


PLAIN = Codec("the body as it is: bytes in, bytes or text out", _same, _same)
CODECS: dict[str, Codec] = {
    "bytes": PLAIN,
    "text": Codec("UTF-8 text in and out", _text, str),
    "json": Codec("any JSON value in and out", json.loads, _json),
    "tf": Codec("named tensors in and out, as TFRequest and TFResponse carry them", tensors.decode, tensors.encode),
    "torch": _messages("torch.PredictRequest"),
    "blade": _messages("blade.Request"),
    "caffe": _messages("caffe.PredictRequest"),
    "onnx": _messages("onnx.DataProto"),
    "easyrec": _messages("easyrec.PBRequest"),
    "torchrec": _messages("torchrec.PBRequest"),
}
