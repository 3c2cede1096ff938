"""PyTorch requests and responses: input and output tensors by index or by name (`pytorch_predict.proto`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eas_tw.body import compression
from eas_tw.body.checks import whole
from eas_tw.body.dtypes import ArrayDataTypes
from eas_tw.body.equality import EqualByBody
from eas_tw.body.layout import TORCH
from eas_tw.body.outputs import TensorResponse, read_map
from eas_tw.body.tensor import Encoded, ResponseTensor, encode, joined
from eas_tw.body.wire import DELIMITED, VARINT, delimited, int32, scan, utf8, varint
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

_INPUTS, _OUTPUT_FILTER, _MAP_INPUTS, _DEBUG_LEVEL = 1, 2, 3, 100
_OUTPUTS, _MAP_OUTPUTS = 1, 2
_MOST_INPUTS = 1 << 16  # so that a wrong index cannot fill the memory with empty tensors
_GAP = Encoded(delimited(_INPUTS, b""), b"")


class TorchRequest(EqualByBody, ArrayDataTypes):
    """The inputs of a prediction by a TorchScript model.

    A request may be sent, changed and sent again: each `to_string` makes a new body.

    Args:
        flag: Whether the body is compressed with snappy, for a service whose `rpc.decompressor` is snappy. This needs
            the extra `compression`. It must be `False` if `ClientConfig.compress` is set.

    Raises:
        ConfigError: `flag` is `True`, and cramjam is not installed.
    """

    def __init__(self, flag: bool = False) -> None:  # noqa: FBT001, FBT002 - the official signature
        if flag:
            compression.check_codec("snappy")
        self.flag = flag
        self._feeds: dict[int, Encoded] = {}
        self._named: dict[str, Encoded] = {}
        self._fetches: dict[int, bytes] = {}
        self._debug_level = b""

    def __repr__(self) -> str:
        feeds = [*sorted(self._feeds), *self._named]
        return f"TorchRequest(feeds={feeds}, fetches={list(self._fetches)}, flag={self.flag})"

    def add_feed(
        self, index: int, shape: Sequence[int] | None = None, dtype: int | None = None, content: Any = None
    ) -> None:
        """Add an input by its index; an input of the same index is replaced. Missing indexes are sent as empty tensors.

        Args:
            index: The position of the argument in the model's `forward`, from 0.
            shape: As for `TFRequest.add_feed`.
            dtype: As for `TFRequest.add_feed`; this body has no DT_BOOL.
            content: As for `TFRequest.add_feed`.

        Raises:
            BodyError: Index, shape, dtype and content do not fit each other; the message states where, and what is
                allowed.
        """
        place = whole(index, "the index of a feed", 0, _MOST_INPUTS - 1)
        self._feeds[place] = encode(TORCH, shape, dtype, content, f"feed {place}").within(_INPUTS)

    def add_feed_map(
        self, name: str, shape: Sequence[int] | None = None, dtype: int | None = None, content: Any = None
    ) -> None:
        """Add an input by its name, for a model that takes a dictionary; an input of the same name is replaced.

        Args:
            name: The key in the dictionary.
            shape: As for `add_feed`.
            dtype: As for `add_feed`.
            content: As for `add_feed`.

        Raises:
            BodyError: As for `add_feed`.
        """
        key = utf8(name, "the name of a feed")
        self._named[name] = encode(TORCH, shape, dtype, content, f"feed {name!r}").keyed(_MAP_INPUTS, key)

    def add_fetch(self, index: int) -> None:
        """Request an output by its index; without any such request, the service sends all outputs.

        Raises:
            BodyError: The index is not a 32-bit integer.
        """
        place = whole(index, "the index of a fetch")
        self._fetches[place] = int32(place)

    def set_debug_level(self, debug_level: int = 0) -> None:
        """Request diagnostics from the service; 0 for none.

        Raises:
            BodyError: The level is not a 32-bit integer.
        """
        level = whole(debug_level, "debug_level")
        self._debug_level = varint(_DEBUG_LEVEL << 3 | VARINT) + int32(level) if level else b""

    def to_string(self) -> bytes:
        """Return the body, made with one copy of every tensor."""
        inputs = [self._feeds.get(place, _GAP) for place in range(max(self._feeds, default=-1) + 1)]
        fetches = delimited(_OUTPUT_FILTER, b"".join(self._fetches.values())) if self._fetches else b""
        tensors = [*inputs, Encoded(fetches, b""), *self._named.values()]
        body = joined(tensors=tensors, after=(self._debug_level,))
        return compression.compress("snappy", body) if self.flag else body

    def parse_response(self, content: Buffer) -> TorchResponse:
        """Parse the response to this request; services do not compress the response.

        Raises:
            BodyError: The bytes are not a PyTorch response.
        """
        return TorchResponse(content)


class TorchResponse(TensorResponse):
    """The outputs of a prediction, by index, and by name where the model returns a dictionary.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes.

    Raises:
        BodyError: The body is not a PyTorch response: it is truncated, or it is HTML, JSON or another kind of body.
    """

    __slots__ = ()
    _kind = "PyTorch"

    def _read(self, data: bytes) -> None:
        outputs = []
        for field, wire, start, stop in scan(data, 0, len(data)):
            if field == _OUTPUTS and wire == DELIMITED:
                outputs.append(ResponseTensor(TORCH))
                outputs[-1].merge(data, start, stop)
        self._by_index = outputs
        self._by_name = read_map(TORCH, data, _MAP_OUTPUTS)

    def get_tensor_shape_map(self, name: str) -> list[int]:
        """Return the dimensions of a named output, like `get_tensor_shape`; a number is not accepted."""
        return self.get_tensor_shape(_name(name))

    def get_values_map(self, name: str) -> list[Any]:
        """Return the elements of a named output, like `get_values`; a number is not accepted."""
        return self.get_values(_name(name))


def _name(name: str) -> str:
    if not isinstance(name, str):
        raise BodyError(f"an output of the map has a name, got {name!r}")
    return name
