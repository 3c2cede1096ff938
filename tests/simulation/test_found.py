"""Bugs that the simulation has found, each with its plan; docs/simulation describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from eas_tw.net.http1 import ClientConnection
from simulator.virtual.nemesis import draw
from simulator.virtual.plan import PlannedFault, RunPlan
from simulator.virtual.plan_reader import read
from simulator.virtual.world import World

pytestmark = pytest.mark.long


def test_discovery_faults_can_be_combined() -> None:
    """Simulator: rows made by one discovery fault broke the next one (profile discovery, seed 25)."""
    kinds = ("list_bad_rows", "list_flapping", "list_duplicates", "list_zero")
    steps = tuple(PlannedFault(1.0 + at, kind, -1, 30.0) for at, kind in enumerate(kinds))
    drawn = {"list_flapping": {"missing": 0.9}, "list_duplicates": {"copies": 2}}
    plan = RunPlan(
        1, chaos_s=40.0, steps=tuple(PlannedFault(s.at_s, s.kind, -1, 30.0, drawn.get(s.kind, {})) for s in steps)
    )
    assert World(plan).run().violations == ()


def test_a_reply_that_stops_in_its_body_leaves_no_connection() -> None:
    """Client: the connection of a discovery reply that timed out was not closed (seed 10002)."""
    assert World(draw(10002, later=False)).run().violations == ()


def test_a_connection_closed_before_its_first_use_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Client: a connection that was opened for a burst, and closed unused, counted as a failure of its instance."""
    plan = read(Path(__file__).parent / "found" / "unused_stale.toml")
    assert World(plan).run().violations == ()
    monkeypatch.setattr(ClientConnection, "_was_kept", property(lambda self: self.used > 1))
    assert World(plan).run().violations[0].checker == "failure-explained"


@pytest.mark.parametrize("seed", [20163, 20184, 20250])
def test_seeds_that_once_failed(seed: int) -> None:
    """Client: no stale connection counted as an attempt, so the number of attempts had no bound (20163).

    Simulator: a flapping list failed when its fault ended while the reply was delayed (20250).
    Checker: long queues of calls, while every instance hangs, were not expected (20184).
    """
    assert World(draw(seed, later=False)).run().violations == ()


def test_a_call_that_has_tried_its_subset_goes_to_an_eligible_instance() -> None:
    """Client: the call went to an ejected instance although other instances were eligible (chaos, seed 10)."""
    assert World(draw(10, later=False)).run().violations == ()


def test_only_a_probe_ends_a_probe() -> None:
    """Client: the end of another call permitted a second call while the probe was running (overload, seed 15)."""
    assert World(draw(15, "overload", later=False)).run().violations == ()


def test_a_hedge_that_reached_no_instance_is_sent_again() -> None:
    """Client: when both attempts of a call were refused, other instances were not tried (chaos, seed 202877)."""
    assert World(draw(202877, later=False)).run().violations == ()


@pytest.mark.parametrize("seed", [201543, 201580, 203444, 205016, 205333, 300249, 300372, 303612])
def test_seeds_at_which_the_world_was_wrong(seed: int) -> None:
    """Bugs of the simulation itself.

    Network: bytes that followed a lost packet arrived although their connection was closed (201543, 205016).
    World: requests that had queued for a slow link arrived after its fault (203444); operators removed the last
    instance with a weight (205333).
    Checkers, which did not consider these cases: a client with few answers, one in twenty of which was slow (201580); a
    call that misses its deadline because it waited for connections without a response, which were then reset (300249);
    a connection that is stale before its first use (300372); a port that closes during a handshake, which resets the
    connection (303612).
    """
    assert World(draw(seed, later=False)).run().violations == ()


@pytest.mark.parametrize("seed", [75, 100])
def test_budgets_are_spent_from_the_first_second_on(seed: int) -> None:
    """Checker: retries before the first check were not counted (overload, seeds 75 and 100)."""
    assert World(draw(seed, "overload", later=False)).run().violations == ()


@pytest.mark.parametrize("seed", [16])
def test_an_instance_that_failed_does_not_get_every_call_afterwards(seed: int) -> None:
    """Client: an ejected instance caught up on its missed turns, so it got fifty calls in a row after its return."""
    assert World(draw(seed, "overload", later=False)).run().violations == ()


def test_attempts_that_were_silent_until_their_connection_was_lost_are_not_counted() -> None:
    """Checkers: the silent attempts of a hedged call were counted when all connections were lost (storm, seed 10)."""
    assert World(draw(10, "storm")).run().violations == ()


@pytest.mark.parametrize("seed", [400093])
def test_attempts_that_were_silent_until_their_own_limit_are_not_counted(seed: int) -> None:
    """Checkers: six concurrent attempts that were never sent, for lack of local buffers, counted against `attempts`."""
    assert World(draw(seed)).run().violations == ()


@pytest.mark.parametrize("seed", [500116, 500197])
def test_a_suspicion_ends_with_the_calls_that_could_decide_it(seed: int) -> None:
    """Client: calls to suspects were counted twice or never removed, so the instances got no more calls."""
    assert World(draw(seed)).run().violations == ()


@pytest.mark.parametrize(
    "seed",
    [
        303, 500247, 500388, 500409, 500498, 510094, 510434, 700084, 700329, 700467, 700633, 700772, 1000922, 1003051,
        1003238, 1004095, 1005343, 1005468, 1006755, 1007646,
        1009368, 1010825, 1010828,
    ],
)  # fmt: skip
def test_seeds_at_which_a_checker_knew_too_little(seed: int) -> None:
    """Checkers reported correct clients, because these cases were not implemented.

    - A suspect does not count as an instance with room below the bound on calls in flight (500247).
    - After sixteen attempts a call may return to an instance that has not failed (500388).
    - After a list that could not be applied, the client's counts of failures are uncertain (500409).
    - An injected exception is not a lack of resources on the client's host (510094).
    - An instance that joins during a pause may be tried next (510434).
    - A wall clock that `jump` sets during a call counts as set, in the same way as with `set_wall_clock` (700084).
    - The client waits for the rest of a response that is shorter than its Content-Length, and then watches the
      connection (700633).
    - A call whose response has begun is not silent (700329).
    - Refused connections do not count as attempts, even if the list shrinks to one instance afterwards (700467).
    - A connection attempt that was cancelled in the turn of its start still runs its first step (700772).
    - A poll may wait for the rest of its reply until it times out (1000922).
    - After a jump of its clock, the client counts fewer calls of the last ten seconds (1003051).
    - An unsolicited response may arrive after a request was sent and before the request has arrived (1004095).
    - A silent attempt does not count against `attempts`, even if it is answered in the end (1003238).
    - A slow connection may deliver a frame after the service has made it available to others (1006755).
    - If every instance is left out, calls are sent to them in turn, also outside the subset (1010825).
    - The work of the checkers does not count as work of the client (1010828).
    - If one of several concurrent attempts fails, its retry begins beside the others (1009368).
    - The late response of an attempt that was hedged counts as slow, although the call was fast (1007646).
    - Requests that queued while computing took longer are computed after the end of the fault (1005343).

    World: a list with numbers of 5,000 digits could not be rewritten twice (500498), nor one with rows that are no
    objects (1005468).
    """
    assert World(draw(seed)).run().violations == ()


@pytest.mark.parametrize("seed", [1002957, 1003112])
def test_a_call_does_not_wait_in_the_queue_of_a_pool_whose_connections_are_occupied(seed: int) -> None:
    """Client: a watched attempt kept the only connection to an instance that worked again (1002957).

    A call that is not idempotent waited to its end behind a long stream, although other instances were free (1003112).
    """
    assert World(draw(seed)).run().violations == ()


@pytest.mark.parametrize("seed", [26, 74, 1004990, 800001, 802287, 802306, 802486, 804117])
def test_seeds_with_streams_that_once_failed(seed: int) -> None:
    """Client: a hedge was sent while an instance was sending (800001); a stream got a second response (802287).

    Checkers: a misbehaving agent may respond after an instance has (1004990); a stream through a gateway breaks as
    `cut` (26, 74); a retry avoids a half-open instance (802306); a shortened body is shorter than its Content-Length
    (804117).
    World: garbage could not be rewritten (802486).
    """
    assert World(draw(seed)).run().violations == ()


def test_a_call_is_never_twice_on_one_instance_at_the_same_time() -> None:
    """Client: without another instance, a hedge went to the instance that already had the call (seed 700344)."""
    assert World(draw(700344)).run().violations == ()


@pytest.mark.parametrize("seed", [7, 28, 29, 30, 1000105, 1002325, 1003715, 1008864, 1011087, 1012452, 1012636])
def test_seeds_with_queues_that_once_failed(seed: int) -> None:
    """Client: a put was retried endlessly in one turn (7); a frame that came again during its reject was dropped.

    Client: a reader got more than `window` frames after several losses of its watch (1000105).

    Client: a frame was returned again after its commit, because an earlier reject of it had failed (1011087).

    Client: a watch that had failed everywhere went to the instance that had failed last, beside a well one (1012452).

    Client: `close` never ended after an instance had been removed while 100 connections to it were being opened for
    102 calls (1012636).

    Checker: calls wait in the queue of an instance that accepts no connection, because it has left (1008864).

    World: a consumer that closed left the timers of its own work on frames (1002325).

    Simulator: `slow_first_byte` delayed the end of a response without a body, and so the next put (1003715).
    """
    assert World(draw(seed)).run().violations == ()
