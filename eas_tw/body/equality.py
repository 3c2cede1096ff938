"""Equality of requests and responses by class and body, so that copied or unpickled objects equal the originals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self


class EqualByContent:
    """Base of responses; two responses are equal if they have the same class and the same bytes."""

    __slots__ = ()
    content: bytes

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.content == other.content

    def __hash__(self) -> int:
        return hash((type(self), self.content))

    def __getstate__(self) -> object:
        # With the default method, a class with slots cannot be pickled with protocols 0 and 1.
        return object.__getstate__(self)


class EqualByBody(ABC):
    """Base of requests; two requests are equal if they have the same class and currently the same body.

    Requests are mutable, so they have no hash. A shallow copy can be changed without changing the original.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # as in Python's built-in mutable types

    @abstractmethod
    def to_string(self) -> bytes:
        """Return the body."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_string() == other.to_string()

    def __getstate__(self) -> object:
        # See `EqualByContent.__getstate__`: the default method fails with pickle protocols 0 and 1.
        return object.__getstate__(self)

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        for name, value in vars(self).items():
            setattr(twin, name, _own(value))
        return twin


class EqualByFixedBody(EqualByBody):
    """Base of immutable requests, which have a hash."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # unlike mutable requests
        return hash((type(self), self.to_string()))

    def __copy__(self) -> Self:
        return self


def _own(value: Any) -> Any:
    """Copy an attribute of a request, so that a change of the copy does not change the original."""
    if isinstance(value, dict):
        return dict(value)
    if hasattr(value, "CopyFrom"):  # a protobuf message
        message = type(value)()
        message.CopyFrom(value)
        return message
    return value
