"""Invariants of the store after any sequence of operations."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from simulator.queues.frames import Consumer, WatchSettings
from simulator.queues.store import QueueStore

GROUPS = st.sampled_from(["a", "b"])
USERS = st.sampled_from(["u", "v", "w"])


class Queue(RuleBasedStateMachine):
    """Operations in any order, with a record of the frames that each group has received."""

    watches: Bundle[tuple[str, Consumer]] = Bundle("watches")

    @initialize()
    def start(self) -> None:
        self.store = QueueStore("q", lambda: "r")
        self.deleted: set[int] = set()
        self.received: dict[str, set[int]] = {"a": set(), "b": set()}
        self.committed: dict[str, set[int]] = {"a": set(), "b": set()}

    @rule(priority=st.integers(0, 2))
    def put(self, priority: int) -> None:
        self.store.put(b"", {}, priority)

    @rule(target=watches, group=GROUPS, user=USERS, window=st.integers(1, 3), auto_commit=st.booleans())
    def join(self, group: str, user: str, window: int, auto_commit: bool) -> Any:  # noqa: FBT001
        return group, self.store.join(group, user, WatchSettings(0, window, auto_commit=auto_commit), 0.0)

    @rule(watch=watches)
    def take(self, watch: tuple[str, Consumer]) -> None:
        group, consumer = watch
        frame = self.store.take(group, consumer, 0.0)
        if frame is None:
            return
        assert frame.index not in self.committed[group], "a committed frame was delivered again"
        assert frame.index not in self.deleted, "a deleted frame was delivered"
        self.received[group].add(frame.index)
        if consumer.settings.auto_commit:
            self.committed[group].add(frame.index)

    @rule(watch=consumes(watches))
    def leave(self, watch: tuple[str, Consumer]) -> None:
        self.store.leave(*watch, 0.0)

    @rule(group=GROUPS, index=st.integers(1, 12))
    def commit(self, group: str, index: int) -> None:
        self.store.commit(group, [index], 0.0)
        if index in self.store.frames:
            self.committed[group].add(index)

    @rule(group=GROUPS, index=st.integers(1, 12), code=st.sampled_from(["", "Busy", "Shutdown"]))
    def reject(self, group: str, index: int, code: str) -> None:
        self.store.reject(group, [index], code)

    @rule(group=GROUPS, index=st.integers(1, 12))
    def redeliver(self, group: str, index: int) -> None:
        self.store.redeliver(group, index)

    @rule(index=st.integers(1, 12))
    def delete(self, index: int) -> None:
        if index in self.store.frames:
            self.store.delete([index])
            self.deleted.add(index)

    @invariant()
    def no_consumer_has_more_than_its_window(self) -> None:
        for group in self.store.groups.values():
            for consumer in group.consumers.values():
                assert len(consumer.pending) <= consumer.settings.window
                assert consumer.is_running or not consumer.pending

    @invariant()
    def a_frame_has_one_state_in_each_group(self) -> None:
        for group in self.store.groups.values():
            owners = [index for consumer in group.consumers.values() for index in consumer.pending]
            assert sorted(owners) == sorted(group.pending), "a frame has two consumers of one group, or none"
            waiting = {frame.index for frame in self.store.frames.values() if group.place_of(frame) is not None}
            assert group.waiting == len(waiting)
            states = [*waiting, *group.pending, *group.committed]
            assert sorted(states) == sorted(self.store.frames), "a frame is lost, or in two states"

    def teardown(self) -> None:
        """Take the remaining frames. Assert that each group has received or committed each frame in the queue."""
        for name in list(self.store.groups):
            last = self.store.join(name, "last", WatchSettings(0, 1, auto_commit=True), 0.0)
            for user in ("u", "v", "w"):
                found = self.store.groups[name].consumers.get(user)
                if found is not None:
                    self.store.leave(name, found, 0.0)
            while (frame := self.store.take(name, last, 0.0)) is not None:
                assert frame.index not in self.committed[name]
                self.received[name].add(frame.index)
            left = set(self.store.frames)
            assert left <= self.received[name] | self.committed[name], "a frame did not come to a group"


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
