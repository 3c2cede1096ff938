"""The state of a watch: no frame is lost or returned twice, and the reader has at most `window` uncommitted frames."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from eas_tw.queue.frames import Frame
from eas_tw.queue.watching import BACKOFF_BASE_S, BACKOFF_MAX_S, KEPT, Watching


def watching(index: int = 0, window: int = 32, *, auto_commit: bool = False, buffer_bytes: int = 1000) -> Watching:
    return Watching(index, window, auto_commit=auto_commit, buffer_bytes=buffer_bytes, rng=Random(1))


def take_all(state: Watching) -> list[int]:
    found = []
    while (frame := state.next_frame()) is not None:
        found.append(frame.index)
    return found


def receive(state: Watching, *indexes: int) -> list[bool]:
    return [state.received(Frame(index)) for index in indexes]


def test_a_watch_continues_from_the_first_uncommitted_frame() -> None:
    state = watching()
    assert state.reconnect_index == 0
    receive(state, 1, 2, 3)
    take_all(state)
    state.committed([1])
    assert state.reconnect_index == 2
    state.committed([3])
    assert state.reconnect_index == 2
    state.committed([2])
    assert state.reconnect_index == 4


def test_a_gap_may_be_the_frame_of_another_consumer_so_the_watch_does_not_go_past_it() -> None:
    state = watching()
    receive(state, 1, 3)
    state.committed([1, 3])
    assert state.reconnect_index == 2


def test_a_watch_continues_from_the_start_after_a_frame_of_higher_priority() -> None:
    state = watching()
    receive(state, 10)
    state.committed([10])
    assert state.reconnect_index == 0


def test_a_watch_from_an_index_continues_from_that_index() -> None:
    state = watching(7)
    assert state.reconnect_index == 7
    receive(state, 7)
    state.committed([7])
    assert state.reconnect_index == 8


def test_a_watch_from_the_newest_frame_continues_from_the_first_received_frame() -> None:
    state = watching(-1)
    assert state.reconnect_index == -1
    receive(state, 40, 41)
    assert state.reconnect_index == 40
    state.committed([40])
    assert state.reconnect_index == 41


def test_a_frame_that_was_read_or_committed_is_not_returned_again() -> None:
    state = watching()
    assert receive(state, 1, 1, 2) == [True, False, True]
    assert take_all(state) == [1, 2]
    state.committed([1])
    assert receive(state, 1, 2) == [False, False]
    assert take_all(state) == []


def test_a_rejected_frame_is_returned_again() -> None:
    state = watching()
    receive(state, 1)
    take_all(state)
    state.rejecting([1])
    state.rejected([1])
    assert receive(state, 1) == [True]
    assert take_all(state) == [1]


def test_a_frame_that_is_rejected_and_comes_before_the_answer_is_in_hand_again() -> None:
    state = watching()
    receive(state, 1)
    take_all(state)
    state.rejecting([1])
    assert receive(state, 1) == [True]
    assert take_all(state) == [1]
    state.rejected([1])
    assert receive(state, 1) == [False]


def test_a_frame_that_was_committed_after_a_failed_reject_is_not_returned_again() -> None:
    state = watching()
    receive(state, 1)
    take_all(state)
    state.rejecting([1])
    assert receive(state, 1, 2) == [True, True]  # sent again, although the response to the reject is lost
    state.committed([1])
    assert take_all(state) == [2]


def test_a_commit_of_a_rejected_frame_keeps_an_unread_frame_of_a_recreated_queue() -> None:
    state = watching()
    state.received(Frame(1, {"requestId": "a"}))
    take_all(state)
    state.rejecting([1])
    assert state.received(Frame(1, {"requestId": "b"}))
    state.committed([1])
    assert take_all(state) == [1]


def test_a_reused_index_with_another_request_id_is_a_new_frame() -> None:
    state = watching()
    for request_id in ("a", "b"):
        assert state.received(Frame(1, {"requestId": request_id}))
        state.committed([1])
    assert state.reconnect_index == 2
    assert state.received(Frame(1, {"requestId": "c"}))
    assert state.reconnect_index == 0
    assert not state.received(Frame(1, {"requestId": "c"}))


def test_frames_of_an_earlier_connection_count_in_the_window_until_they_come_again() -> None:
    state = watching(window=2)
    receive(state, 1, 2)
    assert take_all(state) == [1, 2]
    state.lost()
    receive(state, 3, 4)  # frames 1 and 2 were sent to another consumer
    assert state.is_at_window
    assert take_all(state) == []
    state.committed([1])
    assert take_all(state) == [3]
    state.rejecting([2])
    assert take_all(state) == []
    state.rejected([2])
    assert take_all(state) == [4]


def test_frames_that_are_read_after_a_loss_count_for_the_window() -> None:
    state = watching(window=2)
    receive(state, 1, 2)
    state.lost()
    receive(state, 3, 4)
    assert take_all(state) == [1, 2]
    state.committed([1, 2])
    assert take_all(state) == [3, 4]


def test_a_frame_beyond_the_window_shows_that_another_client_has_committed() -> None:
    state = watching(window=2)
    receive(state, 1, 2)
    take_all(state)
    receive(state, 3)  # the service sends frame 3 only if frame 1 or 2 is committed
    assert take_all(state) == [3]
    state.lost()
    receive(state, 4)
    assert state.is_at_window
    state.forget_stale()
    assert take_all(state) == [4]


def test_unread_frames_of_several_connections_are_limited_by_the_window() -> None:
    state = watching(window=2)
    receive(state, 1, 2)
    take_all(state)
    for frames in ((3, 4), (5, 6)):
        state.lost()
        receive(state, *frames)
    assert take_all(state) == []
    state.forget_stale()
    assert take_all(state) == [3, 4]
    assert state.is_at_window
    state.committed([3])
    assert take_all(state) == [5]
    state.forget_stale()
    assert take_all(state) == [6]


def test_a_truncated_frame_does_not_count_for_the_window() -> None:
    state = watching(window=2)
    receive(state, 1, 2)
    take_all(state)
    state.lost()
    receive(state, 3)
    state.truncated(3)
    assert take_all(state) == [3]
    assert state.reconnect_index == 3


def test_with_auto_commit_the_window_has_no_effect() -> None:
    state = watching(window=1, auto_commit=True)
    receive(state, 1, 2)
    assert take_all(state) == [1, 2]
    assert receive(state, 2) == [False]
    assert state.reconnect_index == 3


def test_a_rejected_frame_that_has_arrived_again_is_not_in_the_readers_window() -> None:
    """The window was filled by a frame that the reader did not have, and no frame was returned any more."""
    state = watching(window=1)
    receive(state, 3)
    assert take_all(state) == [3]
    state.rejecting([3])
    receive(state, 3)  # before the response to the reject
    state.rejected([3])
    state.lost()
    receive(state, 1)  # the service counts frame 3 as sent to another consumer, and waits for a commit of frame 1
    assert take_all(state) == [3]
    state.committed([3])
    assert take_all(state) == [1]


def test_after_the_greatest_index_a_watch_continues_at_that_index() -> None:
    """A greater one cannot be requested, so there was no next connection."""
    state = watching(index=-1)
    receive(state, 2**64 - 1)
    take_all(state)
    state.committed([2**64 - 1])
    assert state.reconnect_index == 2**64 - 1
    assert receive(state, 2**64 - 1) == [False]


@pytest.mark.parametrize("how", ["frames", "bytes"])
def test_a_slow_reader_pauses_the_connection_until_it_has_read(how: str) -> None:
    state = watching(window=2, auto_commit=True, buffer_bytes=10)
    if how == "frames":
        receive(state, 1, 2)
        assert not state.is_full
        receive(state, 3)
    else:
        state.received(Frame(1, data=b"x" * 11))
    assert state.is_full
    state.next_frame()
    assert not state.is_full


def test_the_pause_has_full_jitter_and_doubles_until_a_frame_arrives() -> None:
    ceilings = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    many = [watching() for _ in range(200)]
    for state, rng in zip(many, map(Random, range(200)), strict=True):
        state._rng = rng
    for ceiling in ceilings:
        pauses = [state.lost() for state in many]
        assert 0 <= min(pauses) < ceiling * 0.1
        assert ceiling * 0.9 < max(pauses) <= ceiling
    assert (ceilings[0], ceilings[-1]) == (BACKOFF_BASE_S, BACKOFF_MAX_S)
    for state in many:
        state.received(Frame(1))
    assert max(state.lost() for state in many) <= BACKOFF_BASE_S


def test_a_frame_that_is_sent_again_does_not_reset_the_pause() -> None:
    state = watching()
    receive(state, 1)
    for _ in range(6):
        state.lost()
    receive(state, 1)
    assert max(state.lost() for _ in range(50)) > BACKOFF_BASE_S


def test_the_number_of_remembered_frames_is_bounded() -> None:
    state = watching()
    for index in range(1, KEPT + 1000):
        state.received(Frame(index))
        state.next_frame()
        state.committed([index])
    assert len(state._committed) == KEPT
    assert not state._known
    assert not state._in_hand
    assert state.reconnect_index == KEPT + 1000


class AgainstAService(RuleBasedStateMachine):
    """A watch, and a service that stores uncommitted frames and may send them to other consumers."""

    handed = Bundle("handed")

    @initialize(window=st.integers(1, 4))
    def begin(self, window: int) -> None:
        self.window = window
        self.state = watching(window=window)
        self.last = 0
        self.uncommitted: list[int] = []
        self.committed: set[int] = set()
        self.in_hand: set[int] = set()
        self.pending: set[int] = set()  # sent on this connection and not committed, according to the service
        self.elsewhere: set[int] = set()
        self.asked_from = 0

    @rule(count=st.integers(1, 5))
    def put(self, count: int) -> None:
        self.uncommitted += range(self.last + 1, self.last + count + 1)
        self.last += count

    @rule(rng=st.randoms(use_true_random=False))
    def reconnect(self, rng: Random) -> None:
        """Lose the connection. The service sends some of the frames to other consumers."""
        self.state.lost()
        self.pending = set()
        self.elsewhere = {index for index in self.uncommitted if rng.random() < 0.5}
        self.asked_from = self.state.reconnect_index

    @rule()
    def give_back(self) -> None:
        """Disconnect the other consumers, so that the service sends their frames to this watch again."""
        self.elsewhere = set()

    @rule(most=st.integers(1, 10))
    def send(self, most: int) -> None:
        for index in self.uncommitted:
            is_free = index >= self.asked_from and index not in self.pending | self.elsewhere
            if most and is_free and len(self.pending) < self.window:
                self.pending.add(index)
                self.state.received(Frame(index))
                most -= 1

    @rule(target=handed)
    def read(self) -> int:
        frame = self.state.next_frame()
        if frame is None:
            return 0
        assert frame.index not in self.committed, "a committed frame is returned again"
        assert frame.index not in self.in_hand, "the reader gets a frame that it has"
        self.in_hand.add(frame.index)
        return frame.index

    @rule(index=handed)
    def commit(self, index: int) -> None:
        if index in self.in_hand:
            self.in_hand.discard(index)
            self.pending.discard(index)
            self.elsewhere.discard(index)
            self.committed.add(index)
            self.uncommitted.remove(index)
            self.state.committed([index])

    @rule(index=handed, is_early=st.booleans())
    def reject(self, index: int, is_early: bool) -> None:  # noqa: FBT001  only Hypothesis calls it, by name
        """Reject a frame. If `is_early`, the service sends the frame again before its response to the reject."""
        if index in self.in_hand:
            self.in_hand.discard(index)
            self.pending.discard(index)
            self.state.rejecting([index])
            if is_early:
                self.send(10)
            self.state.rejected([index])

    @rule(index=handed)
    def commit_after_a_failed_reject(self, index: int) -> None:
        """The service has accepted the reject and sends the frame again, but the response to the reject is lost."""
        if index in self.in_hand:
            self.in_hand.discard(index)
            self.pending.discard(index)
            self.state.rejecting([index])
            self.send(10)
            self.pending.discard(index)
            self.elsewhere.discard(index)
            self.committed.add(index)
            self.uncommitted.remove(index)
            self.state.committed([index])

    @rule(index=handed)
    def take_back(self, index: int) -> None:
        """Take back a frame whose reader was cancelled."""
        if index in self.in_hand:
            self.in_hand.discard(index)
            self.state.taken_back(Frame(index))

    @invariant()
    def never_more_than_the_window(self) -> None:
        assert len(getattr(self, "in_hand", ())) <= getattr(self, "window", 0)

    @invariant()
    def the_next_connection_asks_for_everything_that_is_not_committed(self) -> None:
        if getattr(self, "uncommitted", ()):
            assert self.state.reconnect_index <= min(self.uncommitted)

    def teardown(self) -> None:
        """Read to the end. Each uncommitted frame arrives, except those that the reader already has."""
        if not hasattr(self, "state"):
            return
        left = {index for index in self.uncommitted if index not in self.in_hand}
        for index in list(self.in_hand):
            self.commit(index)
        self.give_back()
        seen = set()
        for _ in range(len(left) + 1):
            self.send(100)
            while index := self.read():
                seen.add(index)
                self.commit(index)
        assert seen == left


TestAgainstAService = AgainstAService.TestCase
TestAgainstAService.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
