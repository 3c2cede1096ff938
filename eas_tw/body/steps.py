"""Long work on a body as a generator of steps, which may be spread over reactor iterations or run in a thread.

The generator yields between steps and returns its result. The first step is short enough to run in the reactor thread,
and a small body needs only this step. Later steps are larger. `net.offload` decides where the steps run.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]

FIRST_BYTES = 1 << 18
"""Output of the first step in bytes: 256 KiB take less than a millisecond to decompress with any codec."""
STEP_BYTES = 1 << 20
"""Output of a later step in bytes: zlib takes about 3 ms, so a cancelled call soon stops using a CPU."""


class UnreadableError(Exception):
    """The reason why data cannot be decompressed; `compression` converts it to a `BodyError`."""


def too_large(limit: int) -> UnreadableError:
    """Return the error of a body that does not fit into `limit` bytes."""
    return UnreadableError(f"it is larger than {limit} bytes")


def finish(steps: Steps[T]) -> T:
    """Run all steps now, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]  # typeshed does not type the value of a StopIteration


def pieces(memory: memoryview) -> list[bytes]:
    """Copy memory in parts for `bytes.join`, without holding the GIL for long.

    `bytes(memory)` holds the GIL during the whole copy, 0.4 s for 256 MiB, and stops every other thread. `join`
    releases the GIL, but only if the parts are bytes.
    """
    return [bytes(memory[at : at + STEP_BYTES]) for at in range(0, len(memory), STEP_BYTES)]


def begin(steps: Steps[T]) -> tuple[T | None, bool]:
    """Run the first step, which is short.

    Returns:
        1. The result and `True`, if there was only one step.
        2. `None` and `False`, if there are more steps.
    """
    try:
        next(steps)
    except StopIteration as ended:
        return ended.value, True
    return None, False
