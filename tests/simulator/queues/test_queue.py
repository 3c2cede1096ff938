"""A queue notifies its listeners of changes."""

from __future__ import annotations

from random import Random

import pytest
from twisted.internet.task import Clock

from simulator.queues.queue import QueueService


class Listener:
    """A listener that counts changes, and raises at the first one."""

    def __init__(self) -> None:
        self.changes = 0

    def queue_changed(self) -> None:
        self.changes += 1
        if self.changes == 1:
            raise ZeroDivisionError

    def queue_cleared(self) -> None:
        raise AssertionError("nothing was cleared")


def test_a_listener_that_raises_is_still_notified_of_later_changes() -> None:
    queue = QueueService("q", Clock(), Random(1)).input
    listener = Listener()
    queue.listen(listener)
    with pytest.raises(ZeroDivisionError):
        queue.put(b"1", {})
    queue.put(b"2", {})
    assert listener.changes == 2
