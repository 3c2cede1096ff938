"""Long work on a body, cut into steps that whoever runs it may spread over turns of the reactor or give to a thread.

A generator that yields between steps and returns its result. The first step is short enough for a turn of the reactor,
so small bodies end within it; later steps are larger. Functions of their arguments: who runs the steps is decided
elsewhere (`net.offload`).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]

FIRST_BYTES = 1 << 18
"""Output of the first step: 256 KiB take less than a millisecond to decompress with any codec."""
STEP_BYTES = 1 << 20
"""Output of a later step: about 3 ms of zlib, so a cancelled call stops using a CPU soon."""


class UnreadableError(Exception):
    """Why data cannot be decompressed; `compression` makes a `BodyError` of it."""


def too_large(limit: int) -> UnreadableError:
    """The error of a body that does not fit into `limit` bytes."""
    return UnreadableError(f"it is larger than {limit} bytes")


def finish(steps: Steps[T]) -> T:
    """Run all steps, now.

    Returns:
        What the steps return.
    """
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]  # typeshed does not know of what


def pieces(memory: memoryview) -> list[bytes]:
    """Copy memory into parts for `bytes.join`, without holding the interpreter's lock for long.

    `bytes(memory)` holds the lock for as long as the copy takes, 0.4 s for 256 MiB, and stops every other thread;
    `join` releases it, but only for parts that are bytes.
    """
    return [bytes(memory[at : at + STEP_BYTES]) for at in range(0, len(memory), STEP_BYTES)]


def begin(steps: Steps[T]) -> tuple[T | None, bool]:
    """Run the first step, which is short.

    Returns:
        1. The result and True, if that was the last step, too.
        2. None and False, if there are more.
    """
    try:
        next(steps)
    except StopIteration as ended:
        return ended.value, True
    return None, False
