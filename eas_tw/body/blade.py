"""Blade bodies: named tensors with a batch size in, named tensors out (`blade.proto`)."""

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
    """The inputs of one prediction by a model that Blade has optimised.

    A request may be sent, changed and sent again: each `to_string` is a whole new body.

    Args:
        signature_name: Of the model; None sends none. (The official class cannot be made without.)
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
        """Name the model's signature.

        Raises:
            BodyError: It is not text.
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
        """Add an input; the same name again replaces it.

        Args:
            name: Of the input.
            batchsize: How many examples it holds, ≥ 1.
            shape: As for `TFRequest.add_feed`.
            dtype: One of this class's `DT_…` constants, whose numbers are Blade's own; None as for `TFRequest`.
            content: As for `TFRequest.add_feed`.

        Raises:
            BodyError: Something does not fit; the text says what and what would.
        """
        text = utf8(name, "the name of a feed")
        where = f"feed {name!r}"
        batch = varint(_BATCHSIZE << 3 | VARINT) + varint(whole(batchsize, f"{where}: batchsize", 1))
        tensor = encode(BLADE, shape, dtype, content, where)
        self._feeds[name] = tensor.within(_INPUTS, _names(text) + batch)

    def add_fetch(self, name: str, dtype: int) -> None:
        """Ask for an output; the same name again replaces it.

        Args:
            name: Of the output.
            dtype: One of the `DT_…` constants.

        Raises:
            BodyError: The name is not text, or there is no such dtype.
        """
        text = utf8(name, "the name of a fetch")
        number = BLADE.dtype_of(dtype, f"fetch {name!r}").number
        kind = varint(_DATA_TYPE << 3 | VARINT) + varint(number)
        self._fetches[name] = delimited(_OUTPUT_INFO, _names(text) + kind)

    def to_string(self) -> bytes:
        """The body, made with one copy of every tensor."""
        return joined(self._signature, tensors=self._feeds.values(), after=self._fetches.values())

    def parse_response(self, content: Buffer) -> BladeResponse:
        """The answer to this request.

        Raises:
            BodyError: The bytes are no Blade response.
        """
        return BladeResponse(content)


class BladeResponse(TensorResponse):
    """The outputs of one prediction, by the name they have in the model.

    Args:
        content: The body of the response.

    Attributes:
        content: The same, as bytes.

    Raises:
        BodyError: It is no Blade response: cut short, or HTML, JSON or another kind of body.
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
        """The elements of an output in row-major order.

        Args:
            output: Its name in the model.
            dtype: The `DT_…` constant of the elements to read; None for those that are there.

        Raises:
            BodyError: There is no such output, or it cannot be decoded.
        """
        return self._output(output).values(f"output {output!r}", dtype)  # type: ignore[no-any-return]


def _names(name: bytes) -> bytes:
    """The official SDK names a tensor twice, for Blade and for the model, the same."""
    return delimited(_BLOB_NAME, name) + delimited(_MODEL_NAME, name)


def _read_array(data: bytes, at: int, end: int) -> tuple[str, ResponseTensor]:
    name, tensor = "", ResponseTensor(BLADE)
    for field, wire, start, stop in scan(data, at, end):
        if field == _MODEL_NAME and wire == DELIMITED:
            name = read_text(data, start, stop)
    tensor.merge(data, at, end)
    return name, tensor
