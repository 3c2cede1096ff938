"""ONNX requests and responses: lists of tensors whose elements are raw memory (`onnx_processor_data.proto`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.body.content import numeric
from eas_tw.body.equality import EqualByBody
from eas_tw.body.layout import ONNX
from eas_tw.body.onnx_data_helper import DATA_TYPE, DIMS, NAME, RAW_DATA, assemble, check_size, encode, parts
from eas_tw.body.outputs import TensorResponse, read_message, read_text
from eas_tw.body.packing import from_raw
from eas_tw.body.tensor import Encoded, check_varints, joined, read_dims, reshaped
from eas_tw.body.wire import DELIMITED, VARINT, read_varint, scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from eas_tw.body.dtypes import DType
    from eas_tw.body.schema.onnx_processor_data_pb2 import TensorProto

_TENSORS = 1


class OnnxRequest(EqualByBody):
    """The inputs of a prediction by an ONNX model.

    A request may be sent, changed and sent again: each `to_string` makes a new body.
    """

    DT_FLOAT = 1
    DT_UINT8 = 2
    DT_INT8 = 3
    DT_UINT16 = 4
    DT_INT16 = 5
    DT_INT32 = 6
    DT_INT64 = 7
    DT_FLOAT16 = 10
    DT_DOUBLE = 11
    DT_UINT32 = 12
    DT_UINT64 = 13

    def __init__(self) -> None:
        self._tensors: dict[str, Encoded] = {}

    def __repr__(self) -> str:
        return f"OnnxRequest(tensors={list(self._tensors)})"

    def add_tensor(self, tensor: Any) -> None:
        """Add an input from a tensor message; an input of the same name is replaced.

        Args:
            tensor: A `TensorProto` of this package (from `eas_tw.OnnxDataHelper.from_array`), of the official SDK, or
                of the `onnx` package with its elements in `raw_data`. It is copied.

        Raises:
            BodyError: The object is not a tensor message, or its type, dimensions and memory do not fit each other.
        """
        dtype, dims, memory = parts(tensor)
        self._add(tensor.name, assemble(tensor.name, dims, dtype, memory))

    def add_feed(
        self, name: str, shape: Sequence[int] | None = None, dtype: int | None = None, content: Any = None
    ) -> None:
        """Add an input, with the arguments of the other tensor requests; an input of the same name is replaced.

        Args:
            name: The input's name.
            shape: As for `TFRequest.add_feed`.
            dtype: One of this class's `DT_…` constants, which have ONNX's numbers; `None` for the type of the content.
            content: As for `TFRequest.add_feed`; content of any dtype that already has the wire's memory layout is not
                copied before `to_string`.

        Raises:
            BodyError: Name, shape, dtype and content do not fit each other; the message states where, and what is
                allowed.
        """
        self._add(name, encode(name, shape, dtype, content))

    def _add(self, name: str, tensor: Encoded) -> None:
        self._tensors[name] = tensor.within(_TENSORS)

    def to_string(self) -> bytes:
        """Return the body, made with one copy of every tensor."""
        return joined(tensors=self._tensors.values())

    def parse_response(self, content: Buffer) -> OnnxResponse:
        """Parse the response to this request.

        Raises:
            BodyError: The bytes are not an ONNX response.
        """
        return OnnxResponse(content)


class OnnxResponse(TensorResponse):
    """The outputs of a prediction, by index, and by name if they are named.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes.

    Raises:
        BodyError: The body is not an ONNX response: it is truncated, or it is HTML, JSON or another kind of body.
    """

    __slots__ = ()
    _kind = "ONNX"

    def _read(self, data: bytes) -> None:
        self._by_index = [
            _RawTensor(data, start, stop)
            for field, wire, start, stop in scan(data, 0, len(data))
            if field == _TENSORS and wire == DELIMITED
        ]
        self._by_name = {tensor.name: tensor for tensor in self._by_index if tensor.name}

    def get_size(self) -> int:
        """Return the number of outputs."""
        return len(self._by_index)

    def get_name(self, index: int) -> str:
        """Return the name of an output.

        Raises:
            BodyError: There is no such output.
        """
        return self._output(index).name  # type: ignore[no-any-return]

    def get_tensor(self, index: str | int) -> TensorProto:
        """Return an output as a message; `eas_tw.OnnxDataHelper.to_array` or `as_numpy` returns an array.

        Raises:
            BodyError: There is no such output.
        """
        return self._output(index).message()  # type: ignore[no-any-return]


class _RawTensor:
    """A `TensorProto` of a response, whose memory is a view of the body."""

    __slots__ = ("_dims", "_extent", "_memory", "name", "number")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.name = ""
        self.number = 0
        self._memory = memoryview(b"")
        self._extent = memoryview(data)[at:end]
        dims: list[memoryview] = []
        for field, wire, start, stop in scan(data, at, end):
            if field == NAME and wire == DELIMITED:
                self.name = read_text(data, start, stop)
            elif field == DIMS and wire in {DELIMITED, VARINT}:
                check_varints(data, start, stop)
                dims.append(memoryview(data)[start:stop])
            elif field == DATA_TYPE and wire == VARINT:
                self.number = read_varint(data, start, stop)[0] & 0xFFFFFFFF
            elif field == RAW_DATA and wire == DELIMITED:
                self._memory = memoryview(data)[start:stop]
        self._dims = b"".join(dims)

    @property
    def shape(self) -> list[int]:
        return read_dims(memoryview(self._dims))

    def values(self, where: str) -> list[Any]:
        return from_raw(self._memory, self._checked(where))

    def as_numpy(self, where: str) -> Any:
        return reshaped(numeric().from_raw(self._memory, self._checked(where)), self.shape, where)

    def message(self) -> TensorProto:
        tensor: TensorProto = read_message("eas_tw.onnx.TensorProto", self._extent)
        return tensor

    def _checked(self, where: str) -> DType:
        dtype = ONNX.dtype_of(self.number, where)
        check_size(dtype, self.shape, self._memory, where)
        return dtype
