"""Bugs that unit tests find instead of the simulation, which cannot find them or would need too many runs."""

from __future__ import annotations

from typing import NamedTuple


class Elsewhere(NamedTuple):
    """A bug that is not planted in simulated runs.

    Attributes:
        bug: Description of the bug.
        why: Why the simulation does not look for it.
        test: The test that finds it, as `file::name`.
    """

    bug: str
    why: str
    test: str


ELSEWHERE = (
    Elsewhere(
        "the order of keys depends on the client, as with Python's own hash",
        "few worlds have two clients with the same eligible instances, many keys, and no other option",
        "tests/policy/test_rendezvous.py::test_every_process_and_version_makes_the_same_choices",
    ),
    Elsewhere(
        "requests of a turn are not written when the clock is set back",
        "the clock would have to be set between a request and the end of its turn",
        "tests/net/test_monotonic.py::test_a_clock_set_back_delays_nothing_after_a_realignment",
    ),
    Elsewhere(
        "an exception of an agent's canceller is raised in the code that ends the call",
        "the call ends correctly in any case, because an exception inside a call ends it",
        "tests/net/test_gateway.py::test_an_agent_that_never_answers",
    ),
    Elsewhere(
        "the process's rng is used instead of the one that was passed in",
        "a single run is correct; only a second run of the same seed differs",
        "tests/simulation/test_world.py::test_the_same_seed_is_the_same_run",
    ),
    Elsewhere(
        "power of two choices picks the busier instance",
        "faults shift load as much as this bug does",
        "tests/policy/test_least_loaded.py::test_calls_in_flight_level_out",
    ),
    Elsewhere(
        "power of two choices ignores weights",
        "faults shift load as much as this bug does",
        "tests/policy/test_least_loaded.py::test_weight_divides_load",
    ),
    Elsewhere(
        "outliers are never found",
        "the effect of faults on an instance is rarely steady enough for an outlier",
        "tests/policy/test_outliers.py::test_success",
    ),
    Elsewhere(
        "a returned instance has its whole share at once",
        "slow start takes seconds, in which an instance of a world gets few calls",
        "tests/policy/test_slow_start.py::test_the_share_grows_from_a_tenth_to_the_whole",
    ),
    Elsewhere(
        "every process uses the same subset",
        "a world has one or two clients",
        "tests/policy/test_subset.py::test_a_process_keeps_its_choice_and_another_makes_another",
    ),
    Elsewhere(
        "the percentile for hedges is never updated",
        "every fault in a world changes the latency",
        "tests/policy/test_hedging.py::test_the_past_is_forgotten",
    ),
    Elsewhere(
        "only the attempt that was sent last is listened to",
        "a call must be on two instances, one that keeps sending and one that is silent: seldom in a hundred seeds",
        "tests/net/test_hedging.py::test_no_third_instance_is_asked_while_one_of_two_is_sending",
    ),
    Elsewhere(
        "a hedge may go to an instance on which the call is running",
        "a call must have tried sixteen instances while the others are left out: one of a thousand worlds",
        "tests/net/test_hedging.py::test_a_hedge_never_goes_to_an_instance_on_which_the_call_is_running",
    ),
    Elsewhere(
        "the length of a stream counts as the latency of its instance",
        "outliers and loads of a world differ as much by its faults",
        "tests/net/test_streams.py::test_the_length_of_a_stream_is_no_latency_of_its_instance",
    ),
    Elsewhere(
        "a stream in flight counts as silence of its instance",
        "outliers and loads of a world differ as much by its faults",
        "tests/policy/test_load.py::test_a_stream_in_flight_is_no_silence",
    ),
    Elsewhere(
        "instances of weight 0 are in slow start",
        "an instance must be ejected while thousands of them are new: one of a thousand worlds",
        "tests/policy/test_cluster.py::test_an_ejection_during_the_slow_start_of_thousands_computes_few_shares",
    ),
    Elsewhere(
        "what an agent answers when its request is cancelled opens the stream",
        "an agent that answers in its canceller must meet a cancelled stream: one of three thousand worlds",
        "tests/net/test_gateway.py::test_an_agent_that_answers_when_it_is_cancelled",
    ),
    Elsewhere(
        "frames in hand from an earlier connection of a watch do not count in its window",
        "another consumer must take them while they are in hand and more frames wait, which is seldom",
        "tests/queue/test_watching.py::test_frames_of_an_earlier_connection_count_in_the_window_until_they_come_again",
    ),
    Elsewhere(
        "a frame that comes again before the answer to its reject is dropped",
        "the service sends frames at the end of a turn, so the answer to the reject nearly always comes first",
        "tests/queue/test_watching.py::test_a_frame_that_is_rejected_and_comes_before_the_answer_is_in_hand_again",
    ),
    Elsewhere(
        "a lost watch goes on behind the last committed frame",
        "the consumer that had the frame before it comes back, and gets it",
        "tests/queue/test_watching.py::test_a_gap_may_be_the_frame_of_another_consumer_so_the_watch_does_not_go_past_it",
    ),
    Elsewhere(
        "every client starts its rotation with the first row",
        "a world has too few clients to show the distribution of their first calls",
        "tests/policy/test_rotation.py::test_the_start_is_random",
    ),
    Elsewhere(
        "an attempt that is only watched keeps the last connection of a pool",
        "a pool of one connection must lose a request, and the other instances must fail: one of a thousand worlds",
        "tests/net/test_hedging.py::test_a_watched_connection_is_closed_if_it_is_the_only_one_that_a_call_could_use",
    ),
    Elsewhere(
        "a call that is not idempotent waits to its deadline behind a stream",
        "a pool of one connection must have a long stream when such a call comes: one of a thousand worlds",
        "tests/net/test_hedging.py::test_a_call_that_must_not_be_sent_twice_leaves_the_queue_of_a_silent_instance",
    ),
    Elsewhere(
        "thousands of tiny WebSocket frames are handled in one turn",
        "the simulated service sends only the frames of a queue and answers to pings",
        "tests/net/test_websocket.py::test_many_tiny_frames_of_one_segment_are_handled_in_several_turns",
    ),
    Elsewhere(
        "a frame that arrives as its asyncio task is cancelled is lost",
        "the simulation has no asyncio loop",
        "tests/queue/test_aio_watcher.py::test_a_frame_that_arrives_as_its_task_is_cancelled_is_the_next_frame",
    ),
)
