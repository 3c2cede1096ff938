"""Storage of a token, which keeps it out of reprs, logs and pickles."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    TokenSource = str | Callable[[], str]
    """A token, or a function that returns the current one."""


class Secret:
    """A text that does not appear in a repr, in the `vars()` of its owner, or in a pickle.

    Args:
        text: The token; empty for none.
    """

    __slots__ = ("reveal",)

    def __init__(self, text: str) -> None:
        # The text is stored in a closure, because debuggers and `vars` show the values of attributes.
        self.reveal: Callable[[], str] = lambda: text

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __repr__(self) -> str:
        return f"<Secret {'set' if self else 'empty'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token cannot be pickled or copied: read it from the environment where it is needed")
