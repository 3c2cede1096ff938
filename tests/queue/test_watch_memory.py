"""The memory of a watch is bounded, for any number of frames."""

from __future__ import annotations

import gc
import sys

import pytest

from eas_tw.queue.watching import KEPT
from tests.net.calling import Result
from tests.queue.test_watcher import Watched

FRAMES, BATCH = 100_000, 200


@pytest.mark.long
def test_the_memory_of_a_watch_does_not_grow_after_70_000_frames() -> None:
    """The watch remembers the last `KEPT` committed frames. After these, the number of objects is constant."""
    watched = Watched(window=BATCH)
    blocks = {}
    for first in range(1, FRAMES, BATCH):
        indexes = range(first, first + BATCH)
        watched.service.send(*indexes, data=b"x" * 100)
        assert watched.indexes(BATCH) == list(indexes)
        committing = Result(watched.watcher.commit(indexes))
        watched.harness.asked().answer()
        assert committing.value is None
        watched.service.received()
        watched.harness.events.clear()
        if not (first - 1) % 10_000:
            gc.collect()
            blocks[first] = sys.getallocatedblocks()
    last = max(blocks)
    assert last > KEPT + 20_000
    assert blocks[last] - blocks[70_001] < BATCH
    assert (blocks[70_001] - blocks[1]) / KEPT < 10
    watched.harness.assert_clean()
