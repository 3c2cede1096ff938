"""The load of an instance: calls in flight, and recent latency."""

from __future__ import annotations

import pytest

from eas_tw.policy.load import DECAY_S, InFlight, Loads

A, B = ("10.0.0.1", 80), ("10.0.0.2", 80)


def served(loads: Loads, elapsed_s: float | None, now: float) -> None:
    loads.began(A, now)
    loads.ended(A, elapsed_s, now)


def test_the_load_is_the_latency_times_the_calls_in_flight_plus_one() -> None:
    loads = Loads()
    served(loads, 0.2, 1.0)
    loads.began(A, 1.0)
    loads.began(A, 1.0)
    assert loads._loads[A].in_flight == 2
    assert loads.score(A, 1.0) == pytest.approx(0.6)


def test_a_slow_response_counts_immediately_and_decays_with_fast_ones() -> None:
    loads = Loads()
    served(loads, 0.01, 0.0)
    served(loads, 1.0, 0.1)
    assert loads.score(A, 0.1) == pytest.approx(1.0)
    served(loads, 0.01, 0.1 + DECAY_S)
    assert 0.01 < loads.score(A, 0.1 + DECAY_S) < 0.5


def test_a_slow_response_of_long_ago_does_not_count() -> None:
    loads = Loads()
    served(loads, 1.0, 0.0)
    assert loads.score(A, 1000.0) == loads.score(B, 1000.0)


def test_the_wait_for_a_response_counts_as_latency() -> None:
    """The load of an instance grows while no call ends. When a call ends, the wait is measured from that time."""
    loads = Loads()
    loads.began(A, 10.0)
    loads.began(A, 10.4)
    assert loads.score(A, 10.5) == pytest.approx(0.5 * 3)
    loads.ended(A, None, 10.5)
    assert loads.score(A, 10.6) == pytest.approx(0.1 * 2)


def test_a_call_without_a_latency_does_not_change_the_load() -> None:
    loads = Loads()
    served(loads, 0.2, 0.0)
    served(loads, None, 0.0)
    assert loads.score(A, 0.0) == pytest.approx(0.2)


def test_removed_instances_are_dropped_after_their_calls_have_ended_and_decayed() -> None:
    loads = Loads()
    served(loads, 1.0, 0.0)
    loads.began(A, 0.0)
    loads.keep([B], 1000.0)
    assert loads._loads[A].in_flight == 1
    loads.ended(A, 1.0, 1000.0)
    loads.keep([B], 1000.0 + 5 * DECAY_S)
    assert loads._loads
    loads.keep([B], 1000.0 + 6 * DECAY_S)
    assert not loads._loads


def test_a_stream_in_flight_is_no_silence() -> None:
    loads = Loads()
    served(loads, 0.2, 1.0)
    loads.began(A, 1.0)
    assert loads.score(A, 31.0) == pytest.approx(2 * 30.0)
    loads.stream_began(A, 0.1, 31.0)
    assert loads.score(A, 31.0) < 2 * 0.2
    loads.began(A, 32.0)
    assert loads.score(A, 36.0) == pytest.approx(3 * 5.0)
    loads.ended(A, 0.1, 36.0)
    loads.ended(A, 0.1, 40.0, is_stream=True)
    assert loads._loads[A].in_flight == 0


def test_attempts_in_flight_are_counted_by_instance_and_in_total() -> None:
    in_flight = InFlight()
    for key in (A, A, B):
        in_flight.began(key)
    assert (in_flight.of(A), in_flight.of(B), in_flight.total) == (2, 1, 3)
    in_flight.ended(A)
    in_flight.ended(B)
    assert (in_flight.of(A), in_flight.of(B), in_flight.total) == (1, 0, 1)
    in_flight.ended(A)
    assert not in_flight._counts
