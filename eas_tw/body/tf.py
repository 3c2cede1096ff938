"""TensorFlow requests and responses: named input tensors, and named output tensors (`tf_predict.proto`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.body.dtypes import ArrayDataTypes
from eas_tw.body.equality import EqualByBody
from eas_tw.body.layout import TF
from eas_tw.body.outputs import TensorResponse, read_map
from eas_tw.body.tensor import Encoded, encode, joined
from eas_tw.body.wire import delimited, utf8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

_SIGNATURE_NAME, _INPUTS, _OUTPUT_FILTER = 1, 2, 3
_OUTPUTS = 1


class TFRequest(EqualByBody, ArrayDataTypes):
    """The inputs of a prediction.

    A request may be sent, changed and sent again: each `to_string` makes a new body.

    Args:
        signature_name: The signature of the saved model, such as `predict_images`; `saved_model_cli show --all` lists
            the signatures.
    """

    def __init__(self, signature_name: str = "") -> None:
        self._feeds: dict[str, Encoded] = {}
        self._fetches: dict[str, bytes] = {}
        self.set_signature_name(signature_name)

    def __repr__(self) -> str:
        return f"TFRequest({self.signature_name!r}, feeds={list(self._feeds)}, fetches={list(self._fetches)})"

    def set_signature_name(self, signature_name: str) -> None:
        """Set the saved model's signature.

        Raises:
            BodyError: The name is not text.
        """
        encoded = utf8(signature_name, "signature_name")
        self._signature = delimited(_SIGNATURE_NAME, encoded) if encoded else b""
        self.signature_name = signature_name

    def add_feed(
        self, name: str, shape: Sequence[int] | None = None, dtype: int | None = None, content: Any = None
    ) -> None:
        """Add an input; an input of the same name is replaced.

        The input is checked and encoded now, with one exception: floats with the wire's memory layout (a row-major
        float32 array for DT_FLOAT, float64 for DT_DOUBLE) are copied only in `to_string`. If the program changes such
        an array in place, the next `to_string` returns the changed values; a body that was made before does not
        change. Pass a copy to keep the current values.

        Args:
            name: The input's name.
            shape: The dimensions, such as `[batch, 784]`; `[]` for a scalar; `None` for the shape of the content.
            dtype: One of the `DT_…` constants. Numbers are converted to DT_FLOAT and DT_DOUBLE; there is no other
                conversion. `None` for the type of the content, if it has one: an array, a typed buffer, bools, text.
            content: The elements in row-major order: a list, nested lists, an array or an object with `__array__`, of
                any layout and byte order, or a buffer. Plain bytes are raw little-endian memory if their size fits the
                shape; otherwise each byte is one element from 0 to 255. Elements of DT_STRING are bytes or str.

        Raises:
            BodyError: Name, shape, dtype and content do not fit each other; the message states where, and what is
                allowed.
        """
        key = utf8(name, "the name of a feed")
        self._feeds[name] = encode(TF, shape, dtype, content, f"feed {name!r}").keyed(_INPUTS, key)

    def add_fetch(self, name: str) -> None:
        """Request an output; without any such request, the service sends all outputs.

        Raises:
            BodyError: The name is not text.
        """
        self._fetches[name] = delimited(_OUTPUT_FILTER, utf8(name, "the name of a fetch"))

    def to_string(self) -> bytes:
        """Return the body, made with one copy of every tensor."""
        return joined(self._signature, tensors=self._feeds.values(), after=self._fetches.values())

    def parse_response(self, content: Buffer) -> TFResponse:
        """Parse the response to this request.

        Raises:
            BodyError: The bytes are not a TensorFlow response.
        """
        return TFResponse(content)


class TFResponse(TensorResponse):
    """The outputs of a prediction, located when the response is made, and decoded on demand.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes.

    Raises:
        BodyError: The body is not a TensorFlow response: it is truncated, or it is HTML, JSON or another kind of body.
    """

    __slots__ = ()
    _kind = "TensorFlow"

    def _read(self, data: bytes) -> None:
        self._by_name = read_map(TF, data, _OUTPUTS)
