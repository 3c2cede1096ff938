"""Blade requests and responses: named input tensors with a batch size, and named output tensors (`blade.proto`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.body.checks import whole
from eas_tw.body.equality import EqualByBody
from eas_tw.body.layout import BLADE
from eas_tw.body.outputs import TensorResponse, read_text
from eas_tw.body.tensor import Encoded, ResponseTensor, encode, joined
from eas_tw.body.wire import DELIMITED, VARINT, delimited, scan, utf8, varint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

_SIGNATURE_NAME, _INPUTS, _OUTPUT_INFO = 1, 2, 3
_BLOB_NAME, _MODEL_NAME, _BATCHSIZE, _DATA_TYPE = 1, 2, 3, 3
_OUTPUTS = 1


class BladeRequest(EqualByBody):
    """The inputs of a prediction by a model that Blade has optimised.

    A request may be sent, changed and sent again: each `to_string` makes a new body.

    Args:
        signature_name: The model's signature; `None` to send no signature. The official SDK requires a signature.
    """

    DT_FLOAT = 1
    DT_INT32 = 2
    DT_INT64 = 3
    DT_STRING = 4

    def __init__(self, signature_name: str | None = None) -> None:
        self._feeds: dict[str, Encoded] = {}
        self._fetches: dict[str, bytes] = {}
        self._signature = b""
        self.signature_name: str | None = None
        if signature_name is not None:
            self.set_signature_name(signature_name)

    def __repr__(self) -> str:
        return f"BladeRequest({self.signature_name!r}, feeds={list(self._feeds)}, fetches={list(self._fetches)})"

    def set_signature_name(self, signature_name: str) -> None:
        """Set the model's signature.

        Raises:
            BodyError: The name is not text.
        """
        self._signature = delimited(_SIGNATURE_NAME, utf8(signature_name, "signature_name"))
        self.signature_name = signature_name

    def add_feed(
        self,
        name: str,
        batchsize: int,
        shape: Sequence[int] | None = None,
        dtype: int | None = None,
        content: Any = None,
    ) -> None:
        """Add an input; an input of the same name is replaced.

        Args:
            name: The input's name.
            batchsize: Number of examples in the input, ≥ 1.
            shape: As for `TFRequest.add_feed`.
            dtype: One of this class's `DT_…` constants, which have Blade's own numbers; `None` for the type of the
                content.
            content: As for `TFRequest.add_feed`.

        Raises:
            BodyError: An argument is invalid, or the arguments do not fit each other; the message states what is
                allowed.
        """
        text = utf8(name, "the name of a feed")
        where = f"feed {name!r}"
        batch = varint(_BATCHSIZE << 3 | VARINT) + varint(whole(batchsize, f"{where}: batchsize", 1))
        tensor = encode(BLADE, shape, dtype, content, where)
        self._feeds[name] = tensor.within(_INPUTS, _names(text) + batch)

    def add_fetch(self, name: str, dtype: int) -> None:
        """Request an output; a request for the same name is replaced.

        Args:
            name: The output's name.
            dtype: One of the `DT_…` constants.

        Raises:
            BodyError: The name is not text, or there is no such dtype.
        """
        text = utf8(name, "the name of a fetch")
        number = BLADE.dtype_of(dtype, f"fetch {name!r}").number
        kind = varint(_DATA_TYPE << 3 | VARINT) + varint(number)
        self._fetches[name] = delimited(_OUTPUT_INFO, _names(text) + kind)

    def to_string(self) -> bytes:
        """Return the encoded body; every tensor is copied once."""
        return joined(self._signature, tensors=self._feeds.values(), after=self._fetches.values())

    def parse_response(self, content: Buffer) -> BladeResponse:
        """Parse the response to this request.

        Raises:
            BodyError: The bytes are not a Blade response.
        """
        return BladeResponse(content)


class BladeResponse(TensorResponse):
    """The outputs of a prediction, by their names in the model.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes.

    Raises:
        BodyError: The body is not a Blade response: it is truncated, or it is HTML, JSON or another kind of body.
    """

    __slots__ = ()
    _kind = "Blade"

    def _read(self, data: bytes) -> None:
        self._by_name = dict(
            _read_array(data, start, stop)
            for field, wire, start, stop in scan(data, 0, len(data))
            if field == _OUTPUTS and wire == DELIMITED
        )

    def get_values(self, output: str | int, dtype: int | None = None) -> list[Any]:
        """Return the elements of an output in row-major order.

        Args:
            output: The output's name in the model.
            dtype: The `DT_…` constant of the elements to read; `None` if the message has elements of one type only.

        Raises:
            BodyError: There is no such output, or it cannot be decoded.
        """
        return self._output(output).values(f"output {output!r}", dtype)  # type: ignore[no-any-return]


def _names(name: bytes) -> bytes:
    """Encode both name fields of a tensor with the same name, as the official SDK does."""
    return delimited(_BLOB_NAME, name) + delimited(_MODEL_NAME, name)


def _read_array(data: bytes, at: int, end: int) -> tuple[str, ResponseTensor]:
    name, tensor = "", ResponseTensor(BLADE)
    for field, wire, start, stop in scan(data, at, end):
        if field == _MODEL_NAME and wire == DELIMITED:
            name = read_text(data, start, stop)
    tensor.merge(data, at, end)
    return name, tensor
