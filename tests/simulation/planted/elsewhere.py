"""Bugs whose place is a unit test: it sees at once, in one object, what a world shows late or not for sure."""

from __future__ import annotations

from typing import NamedTuple


class Elsewhere(NamedTuple):
    """A bug that is not planted in worlds.

    Attributes:
        bug: What it would be.
        why: Why no world is its place.
        test: The test that finds it, as `file::name`.
    """

    bug: str
    why: str
    test: str


ELSEWHERE = (
    Elsewhere(
        "what is written at the end of a turn waits when the clock is set back",
        "it takes a step of the clock between a request and the end of its turn",
        "tests/net/test_monotonic.py::test_a_clock_set_back_holds_up_nothing_once_it_was_looked_at",
    ),
    Elsewhere(
        "what an agent raises when it is cancelled goes on to whoever ends the call",
        "the call ends all the same: whatever raises inside a call ends it",
        "tests/net/test_gateway.py::test_an_agent_that_never_answers",
    ),
    Elsewhere(
        "rng of the process instead of the one that was passed in",
        "one run looks as it should; two runs of one seed differ",
        "tests/simulation/test_world.py::test_the_same_seed_is_the_same_run",
    ),
    Elsewhere(
        "of two drawn instances the busier one is picked",
        "a share of the load, among faults that shift it as much",
        "tests/policy/test_least_loaded.py::test_calls_in_flight_level_out",
    ),
    Elsewhere(
        "weight does not divide load",
        "the same",
        "tests/policy/test_least_loaded.py::test_weight_divides_load",
    ),
    Elsewhere(
        "outliers are never found",
        "what faults do to an instance is seldom as steady as what an outlier is judged by",
        "tests/policy/test_outliers.py::test_success",
    ),
    Elsewhere(
        "an instance that returns has its whole share at once",
        "slow start is about seconds after a return, in which a world sends an instance a few calls",
        "tests/policy/test_slow_start.py::test_the_share_grows_from_a_tenth_to_the_whole",
    ),
    Elsewhere(
        "every process uses the same subset",
        "a world has one or two clients",
        "tests/policy/test_subset.py::test_a_process_keeps_its_choice_and_another_makes_another",
    ),
    Elsewhere(
        "the percentile of hedges is never learned anew",
        "latency in a world moves with every fault",
        "tests/policy/test_hedging.py::test_the_past_is_forgotten",
    ),
    Elsewhere(
        "every client starts its rotation with the first row",
        "a world's first calls are a handful",
        "tests/policy/test_rotation.py::test_the_start_is_random",
    ),
)
