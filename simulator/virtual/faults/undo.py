"""Functions that end faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Undo = Callable[[], None]


def all_of(undoes: Iterable[Undo]) -> Undo:
    """Return a function that calls all of the given functions."""
    return Each([(undo, ()) for undo in undoes])


def nothing() -> None:
    """Do nothing; used for faults that have nothing to end."""


class Each:
    """A callable that ends several faults.

    Args:
        acts: The functions to call, in this order, with their arguments.
    """

    def __init__(self, acts: Sequence[tuple[Callable[..., object], tuple[Any, ...]]]) -> None:
        self._acts = acts

    def __call__(self) -> None:
        """Call all functions."""
        for act, arguments in self._acts:
            act(*arguments)
