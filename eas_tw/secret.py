"""A token while the client keeps it: readable where requests are signed, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


class Secret:
    """Text that does not show in a repr, in `vars()` of its holder, or in a pickle.

    Args:
        text: The token; empty for none.
    """

    __slots__ = ("reveal",)

    def __init__(self, text: str) -> None:
        # In a closure and not in an attribute: debuggers and `vars` show attributes.
        self.reveal: Callable[[], str] = lambda: text

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __repr__(self) -> str:
        return f"<Secret {'set' if self else 'empty'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token cannot be pickled or copied: read it from the environment where it is needed")
