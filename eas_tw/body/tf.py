"""TensorFlow bodies: named input tensors in, named output tensors out (`tf_predict.proto`)."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

from eas_tw.body.tensor import Tensor, encode
from eas_tw.body.wire import DELIMITED, delimited, head, scan
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

_SIGNATURE_NAME, _INPUTS, _OUTPUT_FILTER = 1, 2, 3
_OUTPUTS = 1
_KEY, _VALUE = 1, 2


class TFRequest:
    """The inputs of one prediction.

    A request may be sent, changed and sent again: each `to_string` is a whole new body.

    Args:
        signature_name: Of the saved model, such as `predict_images`; `saved_model_cli show --all` lists them.
    """

    DT_FLOAT = 1
    DT_DOUBLE = 2
    DT_INT32 = 3
    DT_UINT8 = 4
    DT_INT16 = 5
    DT_INT8 = 6
    DT_STRING = 7
    DT_COMPLEX64 = 8
    DT_INT64 = 9
    DT_BOOL = 10
    DT_QINT8 = 11
    DT_QUINT8 = 12
    DT_QINT32 = 13
    DT_BFLOAT16 = 14
    DT_QINT16 = 15
    DT_QUINT16 = 16
    DT_UINT16 = 17
    DT_COMPLEX128 = 18
    DT_HALF = 19
    DT_RESOURCE = 20
    DT_VARIANT = 21

    def __init__(self, signature_name: str = "") -> None:
        self._feeds: dict[str, tuple[bytes, bytes | memoryview]] = {}
        self._fetches: dict[str, bytes] = {}
        self.set_signature_name(signature_name)

    def __repr__(self) -> str:
        return f"TFRequest({self.signature_name!r}, feeds={list(self._feeds)}, fetches={list(self._fetches)})"

    def set_signature_name(self, signature_name: str) -> None:
        """Name the saved model's signature.

        Raises:
            BodyError: It is not text.
        """
        encoded = _encoded(signature_name, "signature_name")
        self._signature = delimited(_SIGNATURE_NAME, encoded) if encoded else b""
        self.signature_name = signature_name

    def add_feed(self, name: str, shape: Sequence[int] | None, dtype: int, content: Any) -> None:
        """Add an input; the same name again replaces it.

        Everything is checked and encoded now, with one exception: floats that already are in memory as the wire has
        them (a row-major float32 array for DT_FLOAT, float64 for DT_DOUBLE) are borrowed until `to_string`, which
        copies them once. Changing such an array in place changes what the next `to_string` sends, never a body that
        was made before; pass a copy to keep the values of now.

        Args:
            name: Of the input.
            shape: Its dimensions, such as `[batch, 784]`; `[]` is a scalar, None takes the shape of the content.
            dtype: One of the `DT_…` constants. Numbers convert to DT_FLOAT and DT_DOUBLE; nothing else converts.
            content: The elements in row-major order: a list, nested lists, an array or anything with `__array__`,
                of any layout and byte order, or a buffer. Plain bytes are raw little-endian memory if they have
                the shape's size in memory, else one element from 0 to 255 each. DT_STRING takes bytes and str.

        Raises:
            BodyError: Name, shape, dtype and content do not fit; the text says where and what would.
        """
        key = delimited(_KEY, _encoded(name, "the name of a feed"))
        tensor = encode(shape, dtype, content, f"feed {name!r}")
        entry = key + head(_VALUE, tensor.size) + tensor.head
        self._feeds[name] = head(_INPUTS, len(entry) + len(tensor.payload)) + entry, tensor.payload

    def add_fetch(self, name: str) -> None:
        """Ask for an output; without any, the service sends all.

        Raises:
            BodyError: The name is not text.
        """
        self._fetches[name] = delimited(_OUTPUT_FILTER, _encoded(name, "the name of a fetch"))

    def to_string(self) -> bytes:
        """The body, made with one copy of every tensor."""
        chunks: list[bytes | memoryview] = [self._signature]
        for feed in self._feeds.values():
            chunks += feed
        chunks += self._fetches.values()
        return b"".join(chunks)

    def parse_response(self, content: Buffer) -> TFResponse:
        """The answer to this request.

        Raises:
            BodyError: The bytes are no TensorFlow response.
        """
        return TFResponse(content)


class TFResponse:
    """The outputs of one prediction, found when made, decoded when asked for.

    Args:
        content: The body of the response.

    Attributes:
        content: The same, as bytes.

    Raises:
        BodyError: It is no TensorFlow response: cut short, or HTML, JSON or another kind of body.
    """

    __slots__ = ("_outputs", "content")

    def __init__(self, content: Buffer) -> None:
        self.content = bytes(content)
        try:
            self._outputs = _read_outputs(self.content)
        except BodyError as error:
            start = reprlib.repr(self.content[:40])
            raise BodyError(
                f"the response is no TensorFlow body ({len(self.content)} bytes, {start}): {error}"
            ) from error

    def __repr__(self) -> str:
        return f"TFResponse(outputs={list(self._outputs)}, {len(self.content)} bytes)"

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs, in the order they came."""
        return tuple(self._outputs)

    def get_tensor_shape(self, name: str) -> list[int]:
        """The dimensions of an output, such as `[1, 10]`.

        Raises:
            BodyError: There is no such output.
        """
        return self._output(name).shape

    def get_values(self, name: str) -> list[Any]:
        """The elements of an output in row-major order, as Python floats, ints, bools or bytes.

        Raises:
            BodyError: There is no such output, or it cannot be decoded.
        """
        return self._output(name).values(f"output {name!r}")

    def as_numpy(self, name: str) -> Any:
        """An output as an array of its shape and type.

        Floats are not copied: the array is a read-only view of `content`. Strings come as objects (bytes).

        Raises:
            BodyError: There is no such output, it cannot be decoded, or numpy is not installed.
        """
        return self._output(name).as_numpy(f"output {name!r}")

    def _output(self, name: str) -> Tensor:
        try:
            return self._outputs[name]
        except KeyError:
            raise BodyError(f"there is no output {name!r}; the response has {list(self._outputs)}") from None


def _encoded(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise BodyError(f"{what} must be text that UTF-8 can carry, got {text!r}") from error


def _read_outputs(data: bytes) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    for field, wire, start, stop in scan(data, 0, len(data)):
        if field == _OUTPUTS and wire == DELIMITED:
            name, tensor = _read_entry(data, start, stop)
            outputs[name] = tensor
    return outputs


def _read_entry(data: bytes, at: int, end: int) -> tuple[str, Tensor]:
    """One entry of the map; protobuf reads it as a message of a key and a value, either of which may be missing."""
    name, tensor = "", Tensor()
    for field, wire, start, stop in scan(data, at, end):
        if field == _KEY and wire == DELIMITED:
            try:
                name = str(data[start:stop], "utf-8")
            except UnicodeDecodeError as error:
                raise BodyError(f"not protobuf: the name of an output at byte {start} is not UTF-8") from error
        elif field == _VALUE and wire == DELIMITED:
            tensor.merge(data, start, stop)
    return name, tensor
