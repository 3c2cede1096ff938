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
    """Client: it counted as a failure of its instance. A burst opens the connection; another one serves the call."""
    plan = read(Path(__file__).parent / "found" / "unused_stale.toml")
    assert World(plan).run().violations == ()
    monkeypatch.setattr(ClientConnection, "_was_kept", property(lambda self: self.used > 1))
    assert World(plan).run().violations[0].checker == "failure-explained"


@pytest.mark.parametrize("seed", [20163, 20184, 20250])
def test_seeds_that_once_failed(seed: int) -> None:
    """Client: every stale connection was free, so that attempts had no bound (20163).

    Simulator: a flapping list whose fault ended while the reply was delayed (20250). Checker: lines of calls are too
    long when every instance hangs (20184).
    """
    assert World(draw(seed, later=False)).run().violations == ()


def test_a_call_that_has_tried_its_subset_goes_to_an_eligible_instance() -> None:
    """Client: it went to an ejected instance, while others of the fleet were eligible (chaos, seed 10)."""
    assert World(draw(10, later=False)).run().violations == ()


def test_only_a_probe_ends_a_probe() -> None:
    """Client: the end of another call allowed a second call during the probe (overload, seed 15)."""
    assert World(draw(15, "overload", later=False)).run().violations == ()


def test_a_hedge_that_reached_no_instance_is_sent_again() -> None:
    """Client: both attempts of a call were refused, and other instances were not tried (chaos, seed 202877)."""
    assert World(draw(202877, later=False)).run().violations == ()


@pytest.mark.parametrize("seed", [201543, 201580, 203444, 205016, 205333, 300249, 300372, 303612])
def test_seeds_at_which_the_world_was_wrong(seed: int) -> None:
    """Network: bytes behind a lost piece of a connection that was gone still came (201543, 205016).

    World: what queued in front of a narrow passage came in quiet times (203444); operators took the last instance that
    had a weight (205333). Checker: few answers, of which one in twenty was slow, are not usually fast (201580); who
    stood in line behind silent connections that were then reset may be out of time (300249); a connection
    that was kept before its first use may be stale like any other (300372); a port that closes in the middle of a
    handshake resets it (303612).
    """
    assert World(draw(seed, later=False)).run().violations == ()


@pytest.mark.parametrize("seed", [75, 100])
def test_budgets_are_spent_from_the_first_second_on(seed: int) -> None:
    """Checker: it missed the retries before its first check (overload, seeds 75 and 100)."""
    assert World(draw(seed, "overload", later=False)).run().violations == ()


@pytest.mark.parametrize("seed", [16])
def test_an_instance_that_failed_does_not_get_every_call_afterwards(seed: int) -> None:
    """Client: missed turns were saved up, so that fifty calls in a row went to the instance that had failed."""
    assert World(draw(seed, "overload", later=False)).run().violations == ()


def test_attempts_that_were_silent_until_their_connection_was_lost_are_not_counted() -> None:
    """Checkers: the call had been hedged for their silence, and then all connections were lost (storm, seed 10)."""
    assert World(draw(10, "storm")).run().violations == ()


@pytest.mark.parametrize("seed", [400093])
def test_attempts_that_were_silent_until_their_own_limit_are_not_counted(seed: int) -> None:
    """Checkers: six attempts side by side, unsent for want of buffers here, were counted as more than `attempts`."""
    assert World(draw(seed)).run().violations == ()


@pytest.mark.parametrize("seed", [500116, 500197])
def test_a_suspicion_ends_with_the_calls_that_could_decide_it(seed: int) -> None:
    """Client: calls to suspects were counted twice or never ended, so that instances got no calls any more."""
    assert World(draw(seed)).run().violations == ()


@pytest.mark.parametrize(
    "seed", [303, 500247, 500388, 500409, 500498, 510094, 510434, 700084, 700329, 700467, 700633, 700772]
)
def test_seeds_at_which_a_checker_knew_too_little(seed: int) -> None:
    """What each was.

    Checkers: a suspect is no room for a call above the bound (500247); after sixteen attempts a call goes again to one
    that has not failed (500388); a list that could not be applied leaves the counts of failures unsure (500409).
    What raises by a fault is no shortage of the host at whose time it happens (510094); an instance that joins during a
    pause may be the next that is tried (510434).
    A wall clock set with `jump` during a call counts as set, like one set with `set_wall_clock` (700084).
    A connection whose response is shorter than announced is waited for, and then watched (700633).
    A call whose response has begun does not wait in silence (700329).
    Refused connections stay free when the list shrinks to one instance afterwards (700467).
    The first step of a connection attempt that was given up in the same turn is still due (700772).
    World: a list with numbers of 5,000 digits could not be rewritten twice (500498).
    """
    assert World(draw(seed)).run().violations == ()


@pytest.mark.parametrize("seed", [26, 74, 800001, 802287, 802306, 802486, 804117])
def test_seeds_with_streams_that_once_failed(seed: int) -> None:
    """Client: a hedge beside an instance that was sending (800001), a second response in a stream (802287).

    Checkers: what a gateway passes on breaks as cut (26, 74); a retry avoids a half-open instance (802306); a
    body that is shortened is shorter than its length (804117). World:
    garbage could not be rewritten (802486).
    """
    assert World(draw(seed)).run().violations == ()


def test_a_call_is_never_twice_on_one_instance_at_the_same_time() -> None:
    """Client: a hedge went to the instance on which the call was running, when no other could be chosen (700344)."""
    assert World(draw(700344)).run().violations == ()


@pytest.mark.parametrize("seed", [7, 28, 29, 30])
def test_seeds_with_queues_that_once_failed(seed: int) -> None:
    """Client: a put tried again in the same turn without end (7); a frame dropped that came during its reject."""
    assert World(draw(seed)).run().violations == ()
