"""Base classes of the EasyRec and TorchRec bodies: a `PBRequest` filled step by step, a `PBResponse` with tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from eas_tw.body import schema
from eas_tw.body.checks import whole
from eas_tw.body.equality import EqualByBody
from eas_tw.body.features import spelled
from eas_tw.body.outputs import TensorResponse, read_map, read_message
from eas_tw.errors import BodyError

if TYPE_CHECKING:
    from eas_tw.body.layout import Layout


class RecRequest(EqualByBody):
    """A request to score a list of items.

    A request may be sent, changed and sent again: each `to_string` makes a new body.
    """

    _package: ClassVar[str] = ""

    def __init__(self) -> None:
        self._message: Any = schema.message(f"{self._package}.PBRequest")()

    def __repr__(self) -> str:
        message = self._message
        return f"{type(self).__name__}(user_features={sorted(message.user_features)}, {len(message.item_ids)} items)"

    def _feed(self, data: Any, debug_level: int) -> None:
        level = whole(debug_level, "debug_level")
        try:
            serialised = data.SerializeToString() if hasattr(data, "SerializeToString") else bytes(memoryview(data))
        except TypeError as error:
            raise BodyError(f"a feed is a PBRequest or its bytes, got {type(data).__name__}") from error
        try:
            self._message = read_message(f"{self._package}.PBRequest", serialised)
        except BodyError as error:
            raise BodyError(f"the feed is no PBRequest: {error}") from error
        self._message.debug_level = level

    def set_faiss_neigh_num(self, neigh_num: int) -> None:
        """Set the number of neighbours that the vector recall returns; 0 for the service's default.

        Raises:
            BodyError: The value is not a 32-bit integer.
        """
        self._message.faiss_neigh_num = whole(neigh_num, "faiss_neigh_num")

    def set_debug_level(self, debug_level: int = 0) -> None:
        """Request diagnostics from the service; 0 for none.

        Raises:
            BodyError: The level is not a 32-bit integer.
        """
        self._message.debug_level = whole(debug_level, "debug_level")

    def add_item_id(self, item_id: Any) -> None:
        """Add an item to score; a number is converted to text.

        Raises:
            BodyError: The id cannot be converted to text, or is text that UTF-8 cannot encode.
        """
        self._message.item_ids.append(spelled(item_id, "an item id"))

    def to_string(self) -> bytes:
        """Return the body."""
        return self._message.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


class RecResponse(TensorResponse):
    """A response that is a protobuf message with tensors in one of its fields.

    The fields of the message are attributes of the response: `response.item_ids` is `response.message.item_ids`.

    Args:
        content: The body of the response.

    Attributes:
        content: The body of the response, as bytes.
        message: The `PBResponse`.
    """

    __slots__ = ("message",)
    _package: ClassVar[str] = ""
    _layout: ClassVar[Layout]
    _map_field: ClassVar[int] = 0

    def _read(self, data: bytes) -> None:
        self.message: Any = read_message(f"{self._package}.PBResponse", data)
        self._by_name = read_map(self._layout, data, self._map_field)

    def __getattr__(self, name: str) -> Any:
        # `message` is not set before a successful parse, so looking it up here would recurse. With the `__deepcopy__`
        # of the message, `copy.deepcopy` would copy the message instead of this object.
        if name == "message" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.message, name)

    def __str__(self) -> str:
        return str(self.message)

    def to_string(self) -> str:
        """Return the message as text, in protobuf's text format."""
        return str(self)
