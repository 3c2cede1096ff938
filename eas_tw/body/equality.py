"""Equality of bodies: what it means that a pickled or copied request or response comes back equal."""

from __future__ import annotations

from typing import Any, Self


class EqualByContent:
    """Responses of one class are equal if they are of the same bytes."""

    __slots__ = ()
    content: bytes

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.content == other.content

    def __hash__(self) -> int:
        return hash((type(self), self.content))


class EqualByBody:
    """Requests of one class are equal if they would send the same bytes now.

    They can change, so they have no hash. A shallow copy may be changed by itself.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # as Python's own mutable types

    def to_string(self) -> bytes:
        """The body."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_string() == other.to_string()

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        for name, value in vars(self).items():
            setattr(twin, name, _own(value))
        return twin


class EqualByFixedBody(EqualByBody):
    """Requests whose body is made with them; they have a hash."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # unlike those that can change
        return hash((type(self), self.to_string()))

    def __copy__(self) -> Self:
        return self


def _own(value: Any) -> Any:
    """A part of a request, so that adding to the copy's does not add to the original's."""
    if isinstance(value, dict):
        return dict(value)
    if hasattr(value, "CopyFrom"):  # a protobuf message
        message = type(value)()
        message.CopyFrom(value)
        return message
    return value
