"""Caffe requests and responses: named tensors of 32-bit floats (`caffe_predict.proto`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.body.dtypes import DTYPES
from eas_tw.body.equality import EqualByBody
from eas_tw.body.layout import CAFFE
from eas_tw.body.outputs import TensorResponse, read_text
from eas_tw.body.tensor import Encoded, ResponseTensor, encode, joined
from eas_tw.body.wire import DELIMITED, delimited, scan, utf8
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

_INPUT_NAME, _INPUT_DATA, _OUTPUT_FILTER = 1, 2, 3
_OUTPUT_NAME, _OUTPUT_DATA = 1, 2
_FLOAT = DTYPES[1]


class CaffeRequest(EqualByBody):
    """The inputs of a prediction by a Caffe model; every tensor has 32-bit floats.

    A request may be sent, changed and sent again: each `to_string` makes a new body.
    """

    def __init__(self) -> None:
        self._feeds: dict[str, tuple[bytes, Encoded]] = {}
        self._fetches: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"CaffeRequest(feeds={list(self._feeds)}, fetches={list(self._fetches)})"

    def add_feed(self, name: str, shape: Sequence[int] | None = None, content: Any = None) -> None:
        """Add an input; an input of the same name is replaced.

        Args:
            name: The name of the input blob, such as `data`.
            shape: As for `TFRequest.add_feed`.
            content: As for `TFRequest.add_feed`; numbers of any type become 32-bit floats.

        Raises:
            BodyError: Name, shape and content do not fit each other; the message states where, and what is allowed.
        """
        text = utf8(name, "the name of a feed")
        tensor = encode(CAFFE, shape, _FLOAT.number, content, f"feed {name!r}")
        self._feeds[name] = delimited(_INPUT_NAME, text), tensor.within(_INPUT_DATA)

    def add_fetch(self, name: str) -> None:
        """Request an output; without any such request, the service sends all outputs.

        Raises:
            BodyError: The name is not text.
        """
        self._fetches[name] = delimited(_OUTPUT_FILTER, utf8(name, "the name of a fetch"))

    def to_string(self) -> bytes:
        """Return the body: all names, then all tensors, each of which is copied once."""
        names, tensors = zip(*self._feeds.values(), strict=True) if self._feeds else ((), ())
        return joined(*names, tensors=tensors, after=self._fetches.values())

    def parse_response(self, content: Buffer) -> CaffeResponse:
        """Parse the response to this request.

        Raises:
            BodyError: The bytes are not a Caffe response.
        """
        return CaffeResponse(content)


class CaffeResponse(TensorResponse):
    """The outputs of a prediction.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes.

    Raises:
        BodyError: The body is not a Caffe response: it is truncated, has different numbers of names and tensors, or is
            another kind of body.
    """

    __slots__ = ()
    _kind = "Caffe"

    def _read(self, data: bytes) -> None:
        names, tensors = [], []
        for field, wire, start, stop in scan(data, 0, len(data)):
            if field == _OUTPUT_NAME and wire == DELIMITED:
                names.append(read_text(data, start, stop))
            elif field == _OUTPUT_DATA and wire == DELIMITED:
                tensors.append(ResponseTensor(CAFFE))
                tensors[-1].merge(data, start, stop)
        if len(names) != len(tensors):
            raise BodyError(f"{len(names)} names for {len(tensors)} outputs")
        self._by_name = dict(zip(names, tensors, strict=True))
