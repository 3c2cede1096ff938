"""The store of a queue: to which consumer a frame is delivered, and when it is removed."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from simulator.queues.frames import LEAVING_S, NEWEST, QueueFullError, StreamEndedError, WatchSettings
from simulator.queues.store import Position, QueueStore


def make_store(frames: int = 0, **options: Any) -> QueueStore:
    numbers = count(1)
    store = QueueStore("q", lambda: f"req-{next(numbers)}", **options)
    for number in range(frames):
        store.put(b"%d" % (number + 1), {})
    return store


class Watch:
    """A consumer with an open watch."""

    def __init__(self, store: QueueStore, user: str = "u", group: str = "g", **settings: Any) -> None:
        self.store, self.group = store, group
        self.consumer = store.join(group, user, WatchSettings(**settings), 0.0)

    def take(self, now: float = 0.0) -> int | None:
        frame = self.store.take(self.group, self.consumer, now)
        return frame and frame.index

    def take_all(self) -> list[int]:
        return list(iter(self.take, None))  # type: ignore[arg-type]

    def leave(self, now: float = 0.0) -> None:
        self.store.leave(self.group, self.consumer, now)


# Put, find, search, count


def test_indexes_count_up_and_a_frame_has_the_request_id_that_its_tags_name_or_a_new_one() -> None:
    store = make_store()
    first, second = store.put(b"one", {"k": "v"}), store.put(b"two", {"k": "w", "requestId": "mine"})
    assert [(frame.index, dict(frame.tags), frame.data) for frame in (first, second)] == [
        (1, {"requestId": "req-1", "k": "v"}, b"one"),
        (2, {"requestId": "mine", "k": "w"}, b"two"),
    ]


@pytest.mark.parametrize(
    ("index", "length", "found"),
    [(0, 2, [1, 2]), (2, 2, [2, 3]), (3, 9, [3, 4]), (0, 0, [1, 2, 3, 4]), (9, 1, []), (NEWEST, 3, [4])],
)
def test_find_returns_frames_from_an_index_on(index: int, length: int, found: list[int]) -> None:
    assert [frame.index for frame in make_store(4).find(index, length, {}, "g")] == found


def test_find_takes_only_frames_with_all_of_the_tags() -> None:
    store = make_store()
    for tags in ({"a": "1"}, {"a": "1", "b": "2"}, {"b": "2"}):
        store.put(b"", tags)
    assert [frame.index for frame in store.find(0, 0, {"a": "1", "b": "2"}, "g")] == [2]
    assert [frame.index for frame in store.find(0, 0, {"requestId": "req-3"}, "g")] == [3]
    assert store.count(None, {"a": "1"}) == 2


def test_find_leaves_out_what_the_group_of_the_reader_has_committed() -> None:
    store = make_store(2)
    store.commit("g", [1], 0.0)
    assert [frame.index for frame in store.find(0, 0, {}, "g")] == [2]
    assert [frame.index for frame in store.find(0, 0, {}, "another")] == [1, 2]


def test_the_newest_frame_is_the_newest_that_is_not_pending_in_the_group() -> None:
    store = make_store(2)
    Watch(store, window=1, index=2).take()
    assert [frame.index for frame in store.find(NEWEST, 1, {}, "g")] == [1]
    assert [frame.index for frame in store.find(NEWEST, 1, {}, "another")] == [2]


def test_a_search_counts_the_frames_that_are_delivered_before() -> None:
    store = make_store(3)
    store.put(b"", {}, 1)
    assert store.search(2) == Position(is_pending=False, wait_count=2)  # after the urgent frame and frame 1
    watch = Watch(store)
    assert watch.take() == 4
    assert store.search(4) == Position(is_pending=True, wait_count=0)
    assert store.search(3) == Position(is_pending=False, wait_count=2)
    assert store.search(5) is None


def test_count_is_of_one_priority_or_of_all() -> None:
    store = make_store(2)
    store.put(b"", {}, 1)
    assert [store.count(priority, {}) for priority in (None, 0, 1, 2)] == [3, 2, 1, 0]


# Delivery


def test_frames_of_a_higher_priority_are_delivered_first_and_each_priority_in_order() -> None:
    store = make_store()
    for priority in (0, 1, 0, 1):
        store.put(b"", {}, priority)
    assert Watch(store, window=9).take_all() == [2, 4, 1, 3]


def test_no_more_frames_than_the_window_are_pending() -> None:
    store = make_store(5)
    watch = Watch(store, window=2)
    assert watch.take_all() == [1, 2]
    assert watch.consumer.slots == 0
    store.commit("g", [1], 0.0)
    assert watch.take_all() == [3]


def test_auto_commit_ignores_the_window() -> None:
    store = make_store(5)
    watch = Watch(store, window=1, auto_commit=True)
    assert watch.take_all() == [1, 2, 3, 4, 5]
    assert store.pending == 0


def test_a_frame_goes_to_one_consumer_of_a_group_and_to_every_group() -> None:
    store = make_store(4)
    first, second = Watch(store, "a", window=2), Watch(store, "b", window=9)
    assert (first.take_all(), second.take_all()) == ([1, 2], [3, 4])
    assert Watch(store, "a", "another", window=9).take_all() == [1, 2, 3, 4]


def test_a_consumer_takes_frames_from_its_index_on_and_with_its_tags() -> None:
    store = make_store(2)
    store.put(b"", {"k": "v"})
    assert Watch(store, index=2, window=9).take_all() == [2, 3]
    assert Watch(store, group="tagged", tags={"k": "v"}, window=9).take_all() == [3]
    newest = Watch(store, group="newest", index=NEWEST, window=9)
    store.put(b"", {})
    assert newest.take_all() == [3, 4]


# Commits, rejects and lost consumers


def test_the_frames_of_a_consumer_that_has_gone_are_delivered_again_in_their_place() -> None:
    store = make_store(3)
    first = Watch(store, "a", window=2)
    first.take_all()
    store.commit("g", [1], 0.0)
    first.leave()
    assert Watch(store, "b", window=9).take_all() == [2, 3]


def test_a_commit_is_valid_after_its_consumer_has_disconnected() -> None:
    store = make_store(1)
    first = Watch(store, "a")
    assert first.take() == 1
    first.leave()
    store.commit("g", [1], 0.0)
    assert Watch(store, "b").take() is None


def test_a_commit_may_be_repeated_and_may_name_frames_that_are_not_in_the_queue() -> None:
    store = make_store(1)
    watch = Watch(store)
    watch.take()
    for _ in range(2):
        store.commit("g", [1, 7], 0.0)
    assert (watch.take(), store.pending) == (None, 0)


def test_a_watch_of_the_same_user_takes_the_place_of_the_earlier_one() -> None:
    """If a client reconnects before the loss of its connection is detected, it gets its frames again."""
    store = make_store(2)
    first = Watch(store, window=2)
    assert first.take_all() == [1, 2]
    second = Watch(store, window=2)
    assert (first.take(), second.take_all()) == (None, [1, 2])
    first.leave()  # the loss of the first connection is detected late
    assert second.consumer.is_running
    assert store.pending == 2


def test_a_rejected_frame_goes_to_another_consumer_if_there_is_one() -> None:
    store = make_store(2)
    first, second = Watch(store, "a"), Watch(store, "b")
    assert first.take() == 1
    store.reject("g", [1], "Busy")
    assert (first.take(), second.take()) == (2, 1)


def test_a_rejected_frame_comes_back_to_its_consumer_if_there_is_no_other() -> None:
    store = make_store(1)
    watch = Watch(store)
    assert watch.take() == 1
    store.reject("g", [1], "Busy")
    assert watch.take() == 1


def test_a_consumer_that_rejects_with_shutdown_gets_no_more_frames() -> None:
    store = make_store(2)
    watch = Watch(store)
    watch.take()
    store.reject("g", [1], "Shutdown")
    assert watch.take() is None
    assert Watch(store, "b", window=9).take_all() == [1, 2]


def test_a_reject_of_a_committed_frame_changes_nothing() -> None:
    store = make_store(1)
    watch = Watch(store)
    watch.take()
    store.commit("g", [1], 0.0)
    store.reject("g", [1])
    assert watch.take() is None


def test_the_status_of_a_consumer_says_whether_it_has_gone_and_whether_frames_are_left() -> None:
    store = make_store(2)
    watch = Watch(store, "a", window=2)
    watch.take_all()
    assert watch.consumer.status(0.0) == "Running"
    watch.leave(now=1.0)
    assert watch.consumer.status(1.0 + LEAVING_S / 2) == "Leaving"
    assert watch.consumer.status(1.0 + LEAVING_S) == "Exit"
    store.commit("g", [1, 2], 2.0)
    assert watch.consumer.status(1.0 + LEAVING_S) == "Complete"


# Removal, the maximum length, and the end of the stream


def test_a_deleted_frame_is_gone_for_all_groups_also_while_it_is_pending() -> None:
    store = make_store(3)
    watch, another = Watch(store, window=1), Watch(store, group="another", window=9)
    assert watch.take() == 1
    store.delete([1, 2, 9])
    assert (watch.take_all(), another.take_all()) == ([3], [3])


def test_truncate_removes_what_is_before_the_index() -> None:
    store = make_store(3)
    store.truncate(3)
    assert list(store.frames) == [3]


def test_a_full_queue_drops_the_oldest_frame_that_every_group_has_committed() -> None:
    store = make_store(2, max_length=2)
    assert not store.has_room
    with pytest.raises(QueueFullError):
        store.put(b"", {})
    first, second = Watch(store, window=2), Watch(store, group="another", window=2)
    first.take_all()
    second.take_all()
    store.commit("g", [1, 2], 0.0)
    with pytest.raises(QueueFullError):  # the other group has not committed any frame yet
        store.put(b"", {})
    store.commit("another", [2], 0.0)
    assert store.has_room
    assert store.put(b"", {}).index == 3
    assert list(store.frames) == [1, 3]


def test_the_end_of_the_stream_comes_when_the_group_has_committed_all() -> None:
    store = make_store(1)
    watch = Watch(store)
    watch.take()
    store.end()
    with pytest.raises(StreamEndedError):
        store.put(b"", {})
    assert not store.has_ended_for("g")
    store.commit("g", [1], 0.0)
    assert store.has_ended_for("g")


def test_a_forced_end_of_the_stream_is_at_once() -> None:
    store = make_store(1)
    Watch(store)
    store.end(force=True)
    assert store.has_ended_for("g")


def test_the_number_of_remembered_disconnected_consumers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.queues.group.MAX_CONSUMERS", 3)
    store = make_store()
    running = Watch(store, "running")
    for number in range(5):
        Watch(store, f"u{number}").leave()
    assert list(store.groups["g"].consumers) == ["running", "u3", "u4"]
    assert running.consumer.is_running
