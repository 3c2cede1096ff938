"""What all responses of tensors have in common: outputs, found when the response is made, decoded when asked for."""

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
    """The outputs of one prediction.

    Args:
        content: The body of the response.

    Attributes:
        content: The same, as bytes.

    Raises:
        BodyError: It is no such response: cut short, or HTML, JSON or another kind of body.
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
        # What was found in the body are views of it, which cannot be pickled.
        return type(self), (self.content,)

    @abstractmethod
    def _read(self, data: bytes) -> None:
        """Find the outputs: fill `_by_name` and `_by_index`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(outputs={self._outputs()}, {len(self.content)} bytes)"

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs, in the order they came; outputs without a name are not among them."""
        return tuple(self._by_name)

    def get_tensor_shape(self, output: str | int) -> list[int]:
        """The dimensions of an output, such as `[1, 10]`.

        Args:
            output: Its name, or its place where the service sends a list.

        Raises:
            BodyError: There is no such output.
        """
        return self._output(output).shape  # type: ignore[no-any-return]

    def get_values(self, output: str | int) -> list[Any]:
        """The elements of an output in row-major order, as Python floats, ints, bools or bytes.

        Args:
            output: Its name, or its place where the service sends a list.

        Raises:
            BodyError: There is no such output, or it cannot be decoded.
        """
        return self._output(output).values(f"output {output!r}")  # type: ignore[no-any-return]

    def as_numpy(self, output: str | int) -> Any:
        """An output as an array of its shape and type.

        Floats are not copied: the array is a read-only view of `content`. Strings come as objects (bytes).

        Args:
            output: Its name, or its place where the service sends a list.

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
        """What may be asked for."""
        return [*range(len(self._by_index)), *self._by_name]


def wrong_kind(kind: str, content: bytes, error: BodyError) -> BodyError:
    """What to raise when a response is not of the kind that was asked for; its beginning usually says what it is."""
    return BodyError(f"the response is no {kind} body ({len(content)} bytes, {shown(content[:40])}): {error}")


def read_message(full_name: str, data: Buffer) -> Any:
    """A message of a response, read by protobuf.

    Raises:
        BodyError: It is no such message.
    """
    try:
        return schema.parse(full_name, data)
    except ValueError as error:
        raise BodyError(str(error)) from error


def read_text(data: bytes, start: int, stop: int) -> str:
    """A string of a response.

    Raises:
        BodyError: It is not UTF-8.
    """
    try:
        return str(data[start:stop], "utf-8")
    except UnicodeDecodeError as error:
        raise BodyError(f"not protobuf: the text at byte {start} is not UTF-8") from error


def read_entry(layout: Layout, data: bytes, at: int, end: int) -> tuple[str, ResponseTensor]:
    """One entry of a map; protobuf reads it as a message of a key and a value, either of which may be missing."""
    name, tensor = "", ResponseTensor(layout)
    for field, wire, start, stop in scan(data, at, end):
        if field == _KEY and wire == DELIMITED:
            name = read_text(data, start, stop)
        elif field == _VALUE and wire == DELIMITED:
            tensor.merge(data, start, stop)
    return name, tensor


def read_map(layout: Layout, data: bytes, map_field: int) -> dict[str, ResponseTensor]:
    """The tensors of a map; a name that comes twice is the last one."""
    return dict(
        read_entry(layout, data, start, stop)
        for field, wire, start, stop in scan(data, 0, len(data))
        if field == map_field and wire == DELIMITED
    )
