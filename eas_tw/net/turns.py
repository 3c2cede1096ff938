"""Execution of long work on the reactor, one step in each turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.task import deferLater

if TYPE_CHECKING:
    from collections.abc import Generator

    from twisted.internet.interfaces import IReactorTime

Result = TypeVar("Result")


async def one_step_a_turn(clock: IReactorTime, steps: Generator[None, None, Result]) -> Result:
    """Run a generator to its end, one step in each turn of the reactor, so that other work can run in between.

    Args:
        clock: The reactor.
        steps: A generator that yields between two steps. It is closed when the waiting Deferred is cancelled.

    Returns:
        The return value of the generator; its exceptions are raised.
    """
    try:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
            await deferLater(clock, 0)
    finally:
        steps.close()
