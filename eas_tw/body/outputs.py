"""The base class of all tensor responses: outputs are located when the response is made, and decoded on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from eas_tw.body import schema
from eas_tw.body.equality import EqualByContent
from eas_tw.body.tensor import ResponseTensor
from eas_tw.body.wire import DELIMITED, scan
from eas_tw.display import shown
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Buffer

    from eas_tw.body.layout import Layout

_KEY, _VALUE = 1, 2


class TensorResponse(EqualByContent, ABC):
    """The outputs of a prediction.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes.

    Raises:
        BodyError: The body is not a response of this kind: it is truncated, or it is HTML, JSON or another kind.
    """

    __slots__ = ("_by_index", "_by_name", "content")
    _kind: ClassVar[str] = ""

    def __init__(self, content: Buffer) -> None:
        self.content = bytes(content)
        self._by_name: Mapping[str, Any] = {}
        self._by_index: Sequence[Any] = ()
        try:
            self._read(self.content)
        except BodyError as error:
            raise wrong_kind(self._kind, self.content, error) from error

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        # The located outputs are views of the body, which cannot be pickled.
        return type(self), (self.content,)

    @abstractmethod
    def _read(self, data: bytes) -> None:
        """Locate the outputs: fill `_by_name` and `_by_index`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(outputs={self._outputs()}, {len(self.content)} bytes)"

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs in the order of the body, without outputs that have no name."""
        return tuple(self._by_name)

    def get_tensor_shape(self, output: str | int) -> list[int]:
        """Return the dimensions of an output, such as `[1, 10]`.

        Args:
            output: The output's name, or its index where the service sends a list.

        Raises:
            BodyError: There is no such output.
        """
        return self._output(output).shape  # type: ignore[no-any-return]

    def get_values(self, output: str | int) -> list[Any]:
        """Return the elements of an output in row-major order, as Python floats, ints, bools or bytes.

        Args:
            output: The output's name, or its index where the service sends a list.

        Raises:
            BodyError: There is no such output, or it cannot be decoded.
        """
        return self._output(output).values(f"output {output!r}")  # type: ignore[no-any-return]

    def as_numpy(self, output: str | int) -> Any:
        """Return an output as an array of its shape and type.

        Floats are not copied: the array is a read-only view of `content`. Strings are `bytes` in an array of objects.

        Args:
            output: The output's name, or its index where the service sends a list.

        Raises:
            BodyError: There is no such output, it cannot be decoded, or numpy is not installed.
        """
        return self._output(output).as_numpy(f"output {output!r}")

    def _output(self, output: str | int) -> Any:
        try:
            return self._by_name[output] if isinstance(output, str) else self._by_index[output]
        except (LookupError, TypeError):
            raise BodyError(f"there is no output {shown(output)}; the response has {self._outputs()}") from None

    def _outputs(self) -> list[str | int]:
        """Return the indexes and names of all outputs."""
        return [*range(len(self._by_index)), *self._by_name]


def wrong_kind(kind: str, content: bytes, error: BodyError) -> BodyError:
    """Return the error for a body of another kind; it shows the first 40 bytes, which usually identify the kind."""
    return BodyError(f"the response is no {kind} body ({len(content)} bytes, {shown(content[:40])}): {error}")


def read_message(full_name: str, data: Buffer) -> Any:
    """Parse a message of a response with protobuf.

    Raises:
        BodyError: The bytes are not such a message.
    """
    try:
        return schema.parse(full_name, data)
    except ValueError as error:
        raise BodyError(str(error)) from error


def read_text(data: bytes, start: int, stop: int) -> str:
    """Decode a string of a response.

    Raises:
        BodyError: The bytes are not UTF-8.
    """
    try:
        return str(data[start:stop], "utf-8")
    except UnicodeDecodeError as error:
        raise BodyError(f"not protobuf: the text at byte {start} is not UTF-8") from error


def read_entry(layout: Layout, data: bytes, at: int, end: int) -> tuple[str, ResponseTensor]:
    """Read one entry of a map: a message of a key and a value, either of which may be missing."""
    name, tensor = "", ResponseTensor(layout)
    for field, wire, start, stop in scan(data, at, end):
        if field == _KEY and wire == DELIMITED:
            name = read_text(data, start, stop)
        elif field == _VALUE and wire == DELIMITED:
            tensor.merge(data, start, stop)
    return name, tensor


def read_map(layout: Layout, data: bytes, map_field: int) -> dict[str, ResponseTensor]:
    """Read the tensors of a map; if a name occurs twice, the last tensor is used, as in protobuf."""
    return dict(
        read_entry(layout, data, start, stop)
        for field, wire, start, stop in scan(data, 0, len(data))
        if field == map_field and wire == DELIMITED
    )
