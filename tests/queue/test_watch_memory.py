"""The memory of a watch does not grow with the number of its frames."""

from __future__ import annotations

import gc
import sys

import pytest

from eas_tw.queue.watching import KEPT
from tests.net.calling import Result
from tests.queue.test_watcher import Watched

FRAMES, BATCH = 100_000, 200


@pytest.mark.long
def test_a_watch_of_a_hundred_thousand_frames_keeps_no_more_than_one_of_seventy_thousand() -> None:
    """The watch remembers the last `KEPT` committed frames, so the number of objects is constant after these."""
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
